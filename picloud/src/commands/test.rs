//! `picloud test`: runs the tests of an app, or one of its scripts, without a server.

use std::process::ExitCode;

use manifest_schema::diagnostic::{Diagnostic, Diagnostics};
use manifest_schema::method::Method;
use manifest_schema::name::{JobName, ScriptPath};
use platform::dry_run::{DryRequest, DryRun, RunOptions, ScriptRun};
use platform::script_tests::{Suite, append_checks, run_tests};
use runtime::Trigger;

use super::check::{WorkingTree, working_tree};
use super::error::CommandError;
use super::invoke::payload;
use super::output::{print, print_styled};
use super::{dev, folder};
use crate::cli::TestArgs;
use crate::render::style::red;
use crate::render::{diagnostics, script_tests as render};

/// The exit code of an app that cannot be tested, as of a wrong command line.
const INVALID: u8 = 2;

/// The name of a function that the manifest does not have.
const UNNAMED: &str = "test";

pub(crate) fn test(args: &TestArgs) -> Result<ExitCode, CommandError> {
    let WorkingTree { snapshot, tests, .. } = working_tree(&args.folder)?;
    let (secrets, warning) = dev::secrets(&args.folder);
    eprint_styled(warning.unwrap_or_default());
    let app = folder::app_name(&args.folder.canonicalize().unwrap_or_else(|_| args.folder.clone()));
    let suite = match Suite::of_folder(&snapshot, &tests, app, &secrets) {
        Ok(suite) => suite,
        Err(errors) => return invalid(&errors, snapshot.scripts.len() + tests.len() + 1, args.json),
    };
    let options = RunOptions { started_at_ms: args.time, seed: args.seed, ..RunOptions::default() };
    if let Some(script) = &args.run {
        return run_once(&suite.app, script, args, &options);
    }
    let mut report = run_tests(&suite, args.filter.as_deref(), &options);
    append_checks(&suite, args.filter.as_deref(), &mut report);
    if args.json {
        print(format!("{}\n", render::to_json(&report)))?;
    } else if report.outcomes.is_empty() {
        print_styled(render::none(suite.len(), args.filter.as_deref()))?;
    } else {
        print_styled(render::report(&report))?;
    }
    Ok(if report.failed().next().is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Reports an app that cannot be tested.
fn invalid(errors: &Diagnostics, files: usize, json: bool) -> Result<ExitCode, CommandError> {
    if json {
        print(format!("{}\n", diagnostics::to_json(errors, files)))?;
    } else {
        let problems = diagnostics::count_by_file(errors.errors(), errors.errors_by_file().len());
        let text = diagnostics::render_styled(errors, diagnostics::SHOWN_MAX);
        print_styled(format!("{text}{}: {problems}; no tests ran\n", red("error")))?;
    }
    Ok(ExitCode::from(INVALID))
}

fn eprint_styled(text: String) {
    if !text.is_empty() {
        anstream::eprint!("{text}");
    }
}

/// Runs a script once, as a function or with a request.
fn run_once(
    app: &DryRun,
    script: &ScriptPath,
    args: &TestArgs,
    options: &RunOptions,
) -> Result<ExitCode, CommandError> {
    let manifest = app.revision().manifest();
    if !manifest.scripts().contains(&script) {
        let names: Vec<&str> = manifest.scripts().into_iter().map(ScriptPath::as_str).collect();
        let error = Diagnostic::error(script.as_str(), None, "the manifest does not use this script");
        return invalid(&error.with_help(format!("scripts are {}", names.join(", "))).into(), 1, args.json);
    }
    let data = args.data.as_ref().map(payload).transpose()?;
    let is_request = args.method.is_some() || args.path.is_some() || !args.headers.is_empty();
    let run = if is_request {
        let method = args.method.unwrap_or(if data.is_some() { Method::Post } else { Method::Get });
        let mut headers = args.headers.clone();
        if data.is_some() && headers.iter().all(|(name, _)| name != "content-type") {
            headers.push(("content-type".to_owned(), "application/json".to_owned()));
        }
        let target = args.path.clone().unwrap_or_else(|| "/".to_owned());
        let body = data.unwrap_or_default().into();
        app.request_to(script.clone(), DryRequest { method, target, headers, body }, options)
    } else {
        let function = manifest.functions.iter().find(|function| function.script == *script);
        let name = function.map(|function| function.name.clone()).or_else(|| JobName::new(UNNAMED).ok());
        let name = name.expect("a valid name");
        let payload = data.unwrap_or_else(|| b"null".to_vec()).into();
        app.script(script.clone(), Trigger::Function { name, payload }, None, options)
    };
    show(&run, args.json)
}

fn show(run: &ScriptRun, json: bool) -> Result<ExitCode, CommandError> {
    if json {
        print(format!("{}\n", render::run_to_json(run)))?;
    } else {
        print_styled(render::run(run))?;
    }
    let succeeded = run.execution.outcome.as_ref().is_ok_and(|response| response.status < 400);
    Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
