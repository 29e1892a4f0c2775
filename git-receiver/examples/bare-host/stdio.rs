//! A service over standard input and output, as ssh and `file://` URLs start it.

use std::path::Path;
use std::sync::Arc;

use git_receiver::{
    Protocol, Received, Transport, advertise_receive, advertise_upload, receive_over_connection,
    upload_over_connection,
};
use tokio::io::{AsyncWriteExt as _, BufReader};

use crate::repository::DiskRepository;
use crate::service::Service;
use crate::{AGENT, BoxError, limits, push};

/// Serves one client to its end.
pub(crate) async fn serve(service: Service, dir: &Path) -> Result<(), BoxError> {
    let repository = Arc::new(DiskRepository::open(dir, service)?);
    let requested = std::env::var("GIT_PROTOCOL").ok();
    let protocol = Protocol::from_header(requested.as_deref());
    let mut input = BufReader::new(tokio::io::stdin());
    let mut output = tokio::io::stdout();
    let connection = Transport::Connection;
    let advertised = match service {
        Service::ReceivePack => advertise_receive(&*repository, connection, protocol, AGENT).await?,
        Service::UploadPack => advertise_upload(&*repository, connection, protocol, AGENT).await?,
    };
    output.write_all(&advertised).await?;
    output.flush().await?;
    match service {
        Service::ReceivePack => {
            let limits = limits(&repository.config);
            match receive_over_connection(&*repository, &mut input, &limits).await? {
                Received::Probe => Ok(()),
                Received::Push(push) => push::respond(repository, *push, &mut output).await,
            }
        }
        Service::UploadPack => {
            Ok(upload_over_connection(&*repository, protocol, &mut input, &mut output).await?)
        }
    }
}
