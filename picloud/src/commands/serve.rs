//! `picloud serve`: runs a node until SIGTERM or SIGINT.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;

use platform::tokens::Origin;

use super::error::CommandError;
use super::stop_signals::StopSignals;
use crate::edge::{PublicUrl, listener};
use crate::log;
use crate::node::{Node, StartError};
use crate::render::schedules::RESUME_ALL;
use crate::render::{printable, time};
use crate::service;
use crate::settings::Settings;
use crate::traces;
use platform::executor::threads::main_runtime;

/// The default log filter.
const LOG_DEFAULT: &str = "info,script=trace,sqlx=warn,tokio_cron_scheduler=warn";

pub(crate) fn serve(settings: &Settings) -> Result<(), CommandError> {
    // Dropping the guard sends the remaining spans.
    let (traces, _flush) = traces::start(&settings.traces).map_err(StartError::from)?.unzip();
    log::start(LOG_DEFAULT, settings.log_format, traces);
    let threads = main_runtime().map_err(StartError::from)?;
    threads.block_on(async {
        let node = Node::start(settings).await?;
        // Before the readiness notification, after which a service manager can send SIGTERM.
        let mut signals = StopSignals::new();
        print_greeting(&node, settings);
        service::notify_ready(&format!("listening on {}", node.address));
        let workers = tokio::runtime::Handle::current().metrics().num_workers();
        tokio::spawn(service::watchdog(workers));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let on_signal = async {
            signals.next().await;
            tracing::info!("shutting down; send the signal again to exit immediately");
            service::notify_stopping();
            let _ = stop.send(());
            signals.next().await;
            tracing::warn!("exiting immediately");
        };
        tokio::select! {
            () = node.run(async { drop(stopped.await) }) => {}
            () = on_signal => {}
        }
        Ok::<_, StartError>(())
    })?;
    // Does not wait for scripts that exceed the shutdown timeout.
    threads.shutdown_background();
    Ok(())
}

fn print_greeting(node: &Node, settings: &Settings) {
    let database = match settings.storage.location() {
        store::Location::Postgres(_) => "PostgreSQL".to_owned(),
        store::Location::Sqlite(path) => format!("SQLite in {}", path.display()),
    };
    let file = settings.storage.data_dir.join("admin-token");
    let token = match node.admin_origin {
        // The token must not be in the journal of a service or the log of a container.
        Origin::Created if std::io::stdout().is_terminal() => {
            format!("{}  (new, shown once, stored in {})", node.admin.expose(), file.display())
        }
        Origin::Created => format!("new, stored in {}", file.display()),
        Origin::Stored => format!("stored in {}", file.display()),
        Origin::Configured => {
            let source = settings.admin_token.as_ref().map_or("its caller", |token| token.source.as_str());
            format!("set by {source}")
        }
    };
    let held = node.schedule_hold.as_ref().map(|hold| {
        let (since, cause) = (time(hold.since), printable(&hold.cause));
        format!("  schedules    held since {since} by {cause}; resume them with  {RESUME_ALL}\n")
    });
    let greeting = format!(
        "PiCloud {} is listening on http://{}\n  database     {}\n  admin token  {}\n  first push   {}\n{}",
        env!("CARGO_PKG_VERSION"),
        node.address,
        printable(&database),
        printable(&token),
        first_push(node.address, settings),
        held.unwrap_or_default(),
    );
    // Standard output can be closed.
    let _ = std::io::stdout().write_all(greeting.as_bytes());
}

/// The commands for a first push.
fn first_push(address: SocketAddr, settings: &Settings) -> String {
    if !settings.role.manages() {
        return "push to a manager node; this node only serves apps".to_owned();
    }
    let public = PublicUrl::new(settings.domain.as_deref(), settings.public_url.as_deref());
    let url = public.of_control_plane(listener::reachable(address));
    let proxy = match (&settings.domain, &settings.public_url) {
        (Some(domain), None) => format!(
            "\n               requires a proxy with TLS for {domain} and *.{domain}; without one, set --public-url to \
             http://{domain}:{}",
            address.port()
        ),
        _ => String::new(),
    };
    format!(
        "git remote add picloud {url}/hello.git && git push picloud HEAD:main\n               any user name; the password is the \
         admin token{proxy}"
    )
}
