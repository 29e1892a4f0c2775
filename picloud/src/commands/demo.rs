//! `picloud demo`: a tour of half a minute on a real node. The only program that it runs is git.

use std::borrow::Cow;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use manifest_schema::name::{AppName, JobName, NameError};
use store::scratch::ScratchDir;
use store::{App, RunOutcome, ScheduleId, Store, StoreError};

use super::error::CommandError;
use super::init::{self, InitError, STARTER};
use super::stop_signals::StopSignals;
use crate::cli::DemoArgs;
use crate::edge::listener;
use crate::hint::Hint;
use crate::log::{self, LogFormat};
use crate::node::{Node, StartError};
use crate::render::shell_word;
use crate::settings::{Settings, Storage};
use platform::executor::threads::main_runtime;

/// The app with a schedule.
const CLOCK: [(&str, &str); 3] = [
    ("picloud.toml", include_str!("../../../examples/clock/picloud.toml")),
    ("tick.rhai", include_str!("../../../examples/clock/tick.rhai")),
    ("ring.rhai", include_str!("../../../examples/clock/ring.rhai")),
];

/// The app with state.
const LINKS: [(&str, &str); 4] = [
    ("picloud.toml", include_str!("../../../examples/links/picloud.toml")),
    ("create.rhai", include_str!("../../../examples/links/create.rhai")),
    ("follow.rhai", include_str!("../../../examples/links/follow.rhai")),
    ("link.rhai", include_str!("../../../examples/links/link.rhai")),
];

/// The guestbook, which is left for visitors.
const GUESTBOOK: [(&str, &str); 3] = [
    ("picloud.toml", include_str!("../../../examples/guestbook/picloud.toml")),
    ("book.rhai", include_str!("../../../examples/guestbook/book.rhai")),
    ("templates/book.html", include_str!("../../../examples/guestbook/templates/book.html")),
];

/// The timeout for a run of the schedule, which is due every two seconds.
const SCHEDULE_TIMEOUT: Duration = Duration::from_secs(20);

/// The default log filter: the tour shows only warnings of the node.
const LOG_DEFAULT: &str = "warn";

/// Why the tour failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("cannot use {}", path.display())]
    Folder { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Starter(#[from] InitError),
    #[error("cannot start git")]
    Git(#[source] io::Error),
    #[error("unexpected result of `git {0}`")]
    GitFailed(String),
    #[error("the app did not respond")]
    Call(#[source] Box<ureq::Error>),
    #[error("the schedule did not run within {} s", SCHEDULE_TIMEOUT.as_secs())]
    Schedule,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Name(#[from] NameError),
}

impl Hint for DemoError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Starter(error) => error.hint(),
            Self::Git(_) => Some("install git".into()),
            _ => None,
        }
    }
}

pub(crate) fn demo(options: DemoArgs) -> Result<(), CommandError> {
    log::start(LOG_DEFAULT, LogFormat::Text, None);
    let threads = main_runtime().map_err(StartError::from)?;
    let temporary =
        ScratchDir::new().map_err(|source| DemoError::Folder { path: std::env::temp_dir(), source })?;
    let data_dir = options.data_dir.clone().unwrap_or_else(|| temporary.path().join("data"));
    let result = threads.block_on(async {
        let node = start(&options, data_dir).await?;
        let tour = Tour {
            address: listener::reachable(node.address),
            token: node.admin.expose().to_owned(),
            folder: temporary.path().to_owned(),
            store: node.store.clone(),
        };
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(node.run(async move {
            let _ = stopped.await;
        }));
        let result = tour.walk().await;
        if result.is_ok() && !options.exit {
            tour.print_next_steps();
            StopSignals::new().next().await;
        }
        let _ = stop.send(());
        let _ = serving.await;
        Ok::<_, CommandError>(result?)
    });
    threads.shutdown_background();
    result
}

/// Starts on the requested address, or on a free port if it is in use.
async fn start(options: &DemoArgs, data_dir: PathBuf) -> Result<Node, StartError> {
    let mut settings = Settings {
        listen: options.listen.0,
        storage: Storage { data_dir, database_url: None },
        backup_max_age: None,
        ..Settings::default()
    };
    match Node::start(&settings).await {
        Err(StartError::Listen { source, .. }) if source.kind() == io::ErrorKind::AddrInUse => {
            settings.listen = SocketAddr::new(options.listen.0.ip(), 0);
            Node::start(&settings).await
        }
        started => started,
    }
}

/// The steps of the tour.
struct Tour {
    address: SocketAddr,
    token: String,
    folder: PathBuf,
    store: Store,
}

impl Tour {
    async fn walk(&self) -> Result<(), DemoError> {
        heading("A node is running with an SQLite database. This is an app:");
        let hello = self.repository("hello", &STARTER)?;
        show(STARTER[0].1);
        show(STARTER[1].1);

        heading("A push deploys it:");
        self.git(&hello, &["push", "picloud", "main"], true)?;
        self.call("/hello/greet/Ann")?;

        heading("The next push deploys a change:");
        self.edit(&hello, "greet.rhai", "Hello, ", "Good morning, ", "politer")?;
        self.git(&hello, &["push", "picloud", "main"], true)?;
        self.call("/hello/greet/Ann")?;

        heading("A push with an error is rejected and changes nothing:");
        self.edit(&hello, "greet.rhai", "let name = ctx", "lgo::info(\"hi\");\nlet name = ctx", "broken")?;
        self.git(&hello, &["push", "picloud", "main"], false)?;
        self.call("/hello/greet/Ann")?;

        heading("The broken commit is removed locally:");
        println!("\n$ git reset --hard HEAD~1");
        quiet(&hello, &["reset", "-q", "--hard", "HEAD~1"])?;

        heading("To roll back, push an older commit:");
        self.git(&hello, &["push", "-f", "picloud", "HEAD~1:main"], true)?;
        self.call("/hello/greet/Ann")?;

        heading("An app with state: a link shortener that counts visits:");
        let links = self.repository("links", &LINKS)?;
        self.git(&links, &["push", "picloud", "main"], true)?;
        self.post("/links/links", r#"{"url":"https://example.org/","slug":"docs"}"#)?;
        self.follow("/links/docs")?;
        self.follow("/links/docs")?;
        self.call("/links/links/docs")?;
        let guestbook = self.repository("guestbook", &GUESTBOOK)?;
        self.git(&guestbook, &["push", "picloud", "main"], true)?;

        heading("An app with a schedule that runs every two seconds:");
        let clock = self.repository("clock", &CLOCK)?;
        self.git(&clock, &["push", "picloud", "main"], true)?;
        self.wait_for_schedule().await
    }

    /// Waits until the schedule `tick` of the app `clock` has run.
    async fn wait_for_schedule(&self) -> Result<(), DemoError> {
        let (app, name) = (AppName::new("clock")?, JobName::new("tick")?);
        let of = |app: App| ScheduleId { app: app.id, branch: app.production_branch, name: name.clone() };
        let started = Instant::now();
        while started.elapsed() < SCHEDULE_TIMEOUT {
            if let Some(app) = self.store.app(&app).await?
                && let Some(run) = self.store.runs(&of(app), None, 1).await?.pop()
                && run.outcome == Some(RunOutcome::Succeeded)
            {
                let late = run.lateness().num_milliseconds();
                println!(
                    "  tick was due at {} and started {late} ms later: succeeded",
                    run.due.last.format("%H:%M:%S")
                );
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(DemoError::Schedule)
    }

    /// Prints commands to try.
    fn print_next_steps(&self) {
        let Self { address, token, folder, .. } = self;
        let folder = shell_word(&folder.join("hello").display().to_string());
        heading("The node keeps running until Ctrl-C. Try:");
        println!("  curl http://{address}/hello/greet/$USER");
        println!("  cd {folder}");
        println!("change greet.rhai there, and push:");
        println!("  git commit -am mine && git push picloud main");
        println!("list the deploys as refs, and validate without deploying:");
        println!("  git ls-remote picloud");
        println!("  git push picloud HEAD:refs/picloud/check");
        println!("write into the guestbook:");
        println!("  curl -d name=$USER -d text=Hello http://{address}/guestbook/");
        println!("call a function of another app:");
        println!("  curl -H 'Authorization: Bearer {token}' --json '{{\"times\": 3}}' \\");
        println!("    http://{address}/-/api/v1/apps/clock/functions/ring");
    }

    /// Creates a repository with `files` in its first commit and the node as its remote `picloud`.
    fn repository(&self, app: &str, files: &[(&str, &str)]) -> Result<PathBuf, DemoError> {
        let folder = self.folder.join(app);
        init::write(&folder, files)?;
        quiet(&folder, &["init", "-q", "-b", "main"])?;
        let url = format!("http://demo:{}@{}/{app}.git", self.token, self.address);
        quiet(&folder, &["remote", "add", "picloud", &url])?;
        // git does not commit without a user name.
        let email = Command::new("git").args(["config", "user.email"]).current_dir(&folder).output();
        if !email.map_err(DemoError::Git)?.status.success() {
            quiet(&folder, &["config", "user.name", "Demo"])?;
            quiet(&folder, &["config", "user.email", "demo@localhost"])?;
        }
        commit(&folder, "first")?;
        Ok(folder)
    }

    /// Changes a file and commits it.
    fn edit(&self, folder: &Path, file: &str, from: &str, to: &str, message: &str) -> Result<(), DemoError> {
        let path = folder.join(file);
        let failed = |source| DemoError::Folder { path: path.clone(), source };
        let text = fs::read_to_string(&path).map_err(failed)?.replace(from, to);
        fs::write(&path, text).map_err(failed)?;
        println!("\n$ git commit -am {message}");
        commit(folder, message)
    }

    /// Prints and runs a git command, and checks its result.
    fn git(&self, folder: &Path, arguments: &[&str], succeeds: bool) -> Result<(), DemoError> {
        println!("\n$ git {}", arguments.join(" "));
        // git shows no progress if standard error is not a terminal.
        let progress: &[&str] = if arguments[0] == "push" { &["--progress"] } else { &[] };
        let status = command(folder, arguments).args(progress).status().map_err(DemoError::Git)?;
        if status.success() == succeeds { Ok(()) } else { Err(DemoError::GitFailed(arguments.join(" "))) }
    }

    fn call(&self, path: &str) -> Result<(), DemoError> {
        let url = format!("http://{}{path}", self.address);
        println!("\n$ curl {url}");
        let call = || ureq::get(&url).call()?.body_mut().read_to_string();
        println!("{}", call().map_err(|error| DemoError::Call(Box::new(error)))?);
        Ok(())
    }

    /// Sends a JSON document.
    fn post(&self, path: &str, json: &str) -> Result<(), DemoError> {
        let url = format!("http://{}{path}", self.address);
        println!("\n$ curl --json '{json}' {url}");
        let post = || {
            let request = ureq::post(&url).header("content-type", "application/json");
            request.send(json)?.body_mut().read_to_string()
        };
        println!("{}", post().map_err(|error| DemoError::Call(Box::new(error)))?);
        Ok(())
    }

    /// Shows where a path redirects to.
    fn follow(&self, path: &str) -> Result<(), DemoError> {
        let url = format!("http://{}{path}", self.address);
        println!("\n$ curl -w '%{{http_code}} %{{redirect_url}}\\n' {url}");
        let response = without_redirects().get(&url).call();
        let response = response.map_err(|error| DemoError::Call(Box::new(error)))?;
        let target = response.headers().get("location").and_then(|target| target.to_str().ok());
        println!("{} {}", response.status().as_u16(), target.unwrap_or_default());
        Ok(())
    }
}

/// An agent that shows redirects instead of following them.
fn without_redirects() -> ureq::Agent {
    ureq::Agent::config_builder().max_redirects(0).max_redirects_will_error(false).build().into()
}

fn commit(folder: &Path, message: &str) -> Result<(), DemoError> {
    quiet(folder, &["add", "."])?;
    quiet(folder, &["-c", "user.name=Demo", "-c", "user.email=demo@localhost", "commit", "-q", "-m", message])
}

fn quiet(folder: &Path, arguments: &[&str]) -> Result<(), DemoError> {
    let output = command(folder, arguments).output().map_err(DemoError::Git)?;
    if output.status.success() {
        return Ok(());
    }
    eprintln!("{}", String::from_utf8_lossy(&output.stderr));
    Err(DemoError::GitFailed(arguments.join(" ")))
}

/// git in `folder`, without prompts and without the configuration of the user.
fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null");
    command
}

fn heading(text: &str) {
    println!("\n── {text}");
}

fn show(text: &str) {
    println!();
    text.lines().for_each(|line| println!("    {line}"));
}
