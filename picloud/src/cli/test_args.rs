//! Arguments of `picloud test`.

use std::path::PathBuf;

use clap::Args;
use manifest_schema::method::Method;
use manifest_schema::name::ScriptPath;
use platform::dry_run::parse_time;

use super::payload::Payload;

/// Arguments of `picloud test`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TestArgs {
    /// Folder with picloud.toml.
    #[arg(default_value = ".")]
    pub(crate) folder: PathBuf,

    /// Only tests whose file or claim contains this text.
    #[arg(conflicts_with = "run")]
    pub(crate) filter: Option<String>,

    /// Time at which runs start, such as 2026-12-01T09:00:00Z. The default is the current time.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) time: Option<i64>,

    /// Seed of random numbers. The default is another one for each run.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) seed: Option<u64>,

    /// Output JSON, for editors and CI.
    #[arg(long)]
    pub(crate) json: bool,

    /// Run this script once instead, and show its answer and its log. It is called as a function; with --method, --path or -H it
    /// gets a request.
    #[arg(long, value_name = "SCRIPT", value_parser = script)]
    pub(crate) run: Option<ScriptPath>,

    /// JSON argument of the function or body of the request, or - to read it from standard input.
    #[arg(long, value_name = "JSON", requires = "run")]
    pub(crate) data: Option<Payload>,

    /// Method of the request. The default is GET, or POST with --data.
    #[arg(short = 'X', long, value_name = "METHOD", requires = "run", value_parser = method)]
    pub(crate) method: Option<Method>,

    /// Path of the request, with its query. The default is /.
    #[arg(long, value_name = "PATH", requires = "run", value_parser = path)]
    pub(crate) path: Option<String>,

    /// Header of the request, as in 'accept: text/html'; can be repeated.
    #[arg(short = 'H', long = "header", value_name = "HEADER", requires = "run", value_parser = header)]
    pub(crate) headers: Vec<(String, String)>,
}

fn time(text: &str) -> Result<i64, String> {
    parse_time(text).ok_or_else(|| "expected a time with its zone, as in 2026-12-01T09:00:00Z".to_owned())
}

fn script(text: &str) -> Result<ScriptPath, String> {
    ScriptPath::new(text).map_err(|error| error.to_string())
}

fn method(text: &str) -> Result<Method, String> {
    let names = Method::ALL.map(Method::as_str).join(", ");
    Method::parse(&text.to_ascii_uppercase()).ok_or_else(|| format!("routes can have the methods {names}"))
}

fn path(text: &str) -> Result<String, String> {
    text.starts_with('/').then(|| text.to_owned()).ok_or_else(|| "a path begins with /".to_owned())
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
        }
        _ => Err("expected a header as in 'accept: text/html'".to_owned()),
    }
}
