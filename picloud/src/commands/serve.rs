//! `picloud serve`: runs a node until it is told to stop.

use std::io::{IsTerminal as _, Write as _};
use std::net::SocketAddr;

use platform::tokens::Origin;

use super::error::CommandError;
use super::stop_signals::StopSignals;
use crate::edge::{PublicUrl, listener};
use crate::log;
use crate::node::{Node, StartError};
use crate::service;
use crate::settings::Settings;
use crate::traces;
use crate::words::schedules::RESUME_ALL;
use crate::words::{printable, time};
use platform::executor::threads::main_runtime;

/// What is logged where `PICLOUD_LOG` says nothing: the node's own news, and every line that scripts write.
const LOG_DEFAULT: &str = "info,script=trace,sqlx=warn,tokio_cron_scheduler=warn";

pub(crate) fn serve(settings: &Settings) -> Result<(), CommandError> {
    // What is left of the traces is sent when this ends.
    let (traces, _flush) = traces::start(&settings.traces).map_err(StartError::from)?.unzip();
    log::start(LOG_DEFAULT, settings.log_format, traces);
    let threads = main_runtime().map_err(StartError::from)?;
    threads.block_on(async {
        let node = Node::start(settings).await?;
        // From here on a signal is one to stop in good order: whoever hears that the node is ready may send it at once.
        let mut signals = StopSignals::new();
        greet(&node, settings);
        service::notify_ready(&format!("listening on {}", node.address));
        let workers = tokio::runtime::Handle::current().metrics().num_workers();
        tokio::spawn(service::watchdog(workers));
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let asked = async {
            signals.next().await;
            tracing::info!("stopping; the next signal stops at once");
            service::notify_stopping();
            let _ = stop.send(());
            signals.next().await;
            tracing::warn!("stopping at once");
        };
        tokio::select! {
            () = node.run(async { drop(stopped.await) }) => {}
            () = asked => {}
        }
        Ok::<_, StartError>(())
    })?;
    // A script that never yields must not hold up the exit; it was given its time.
    threads.shutdown_background();
    Ok(())
}

fn greet(node: &Node, settings: &Settings) {
    let database = match settings.storage.location() {
        store::Location::Postgres(_) => "PostgreSQL".to_owned(),
        store::Location::Sqlite(path) => format!("SQLite in {}", path.display()),
    };
    let kept = settings.storage.data_dir.join("admin-token");
    let token = match node.admin_origin {
        // What is no terminal is kept: the journal of a service, the log of a container.
        Origin::Created if std::io::stdout().is_terminal() => {
            format!("{}  (made now, shown once, kept in {})", node.admin.expose(), kept.display())
        }
        Origin::Created => format!("made now, kept in {}", kept.display()),
        Origin::Stored => format!("kept in {}", kept.display()),
        Origin::Configured => {
            let from = settings.admin_token.as_ref().map_or("its caller", |token| token.from.as_str());
            format!("as set by {from}")
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
    // Whoever started the node need not be listening any more.
    let _ = std::io::stdout().write_all(greeting.as_bytes());
}

/// What to type in a repository, and what git asks then.
fn first_push(address: SocketAddr, settings: &Settings) -> String {
    if !settings.role.manages() {
        return "to a manager; this node only answers requests to apps".to_owned();
    }
    let public = PublicUrl::new(settings.domain.as_deref(), settings.public_url.as_deref());
    let url = public.of_control_plane(listener::reachable(address));
    let proxy = match (&settings.domain, &settings.public_url) {
        (Some(domain), None) => format!(
            "\n               through a proxy with TLS for {domain} and *.{domain}; without one, set --public-url to \
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
