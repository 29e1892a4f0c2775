//! Why a server could not be spoken to, as far as what happened on the wire says it.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

use crate::hint::Hint;

/// How long an answer may take.
pub(super) const TIME_MAX: Duration = Duration::from_secs(60);

/// Why a server could not be spoken to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnreachableError {
    #[error("{0} is no address of a server")]
    NoUrl(String),
    #[error("cannot reach {0}: nothing listens there")]
    Refused(String),
    #[error("cannot reach {base}: there is no host {host}")]
    NoHost { base: String, host: String },
    #[error("cannot reach {0}: no answer within {seconds} s", seconds = TIME_MAX.as_secs())]
    Timeout(String),
    #[error("{0} does not speak TLS")]
    Plain(String),
    #[error("{0} does not speak HTTP; TLS, perhaps")]
    Tls(String),
    #[error("the certificate of {0} is from an authority that this machine does not trust")]
    Authority(String),
    #[error("the certificate of {0} is for another name")]
    Name(String),
    #[error("the certificate of {0} has expired, by the clock of this machine")]
    Expired(String),
    #[error("the certificate of {0} is not valid yet, by the clock of this machine")]
    NotYet(String),
    #[error("the certificate of {base} is not accepted: {why}")]
    Certificate { base: String, why: String },
    #[error("{0} has no certificate for that name")]
    NoCertificate(String),
    #[error("cannot reach {base}")]
    Other { base: String, source: Box<ureq::Error> },
}

impl Hint for UnreachableError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::NoUrl(_) => "write it as https://pi.example.com, without a path".into(),
            Self::Refused(_) | Self::Timeout(_) | Self::Other { .. } => {
                "is the server running? another one is named with --url, PICLOUD_URL or the remote `picloud`"
                    .into()
            }
            Self::NoHost { .. } => "is its name right, in --url, PICLOUD_URL or the remote `picloud`?".into(),
            Self::Plain(base) => format!("write {}", base.replacen("https://", "http://", 1)).into(),
            Self::Tls(base) => format!("write {}", base.replacen("http://", "https://", 1)).into(),
            Self::Authority(_) => {
                "install the authority's certificate on this machine, or name its file with SSL_CERT_FILE"
                    .into()
            }
            Self::Name(_) => "name the server as its certificate does".into(),
            Self::Expired(_) => "renew it on the server".into(),
            Self::NotYet(_) => "is the clock of this machine right?".into(),
            Self::Certificate { .. } => return None,
            Self::NoCertificate(_) => "name the server as its operator does: its domain".into(),
        })
    }
}

impl UnreachableError {
    /// What an error of the HTTP client means. `url` is that of the request.
    pub(super) fn new(url: &str, error: ureq::Error) -> Self {
        let base = base_of(url);
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Self::NoUrl(base),
            ureq::Error::HostNotFound => Self::NoHost { host: host_of(&base), base },
            ureq::Error::Timeout(_) => Self::Timeout(base),
            ureq::Error::Tls(_) => Self::NoCertificate(base),
            ureq::Error::Rustls(error) => Self::tls(base, error),
            ureq::Error::Protocol(_) if base.starts_with("http://") => Self::Tls(base),
            ureq::Error::Io(error) => Self::io(base, error),
            other => Self::Other { base, source: Box::new(other) },
        }
    }

    fn io(base: String, error: io::Error) -> Self {
        if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            return Self::tls(base, tls.clone());
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused(base),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Self::Timeout(base),
            // The resolver has no kind of its own.
            _ if error.to_string().starts_with("failed to lookup address") => {
                Self::NoHost { host: host_of(&base), base }
            }
            // So ends who is asked for TLS and reads it as a request.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset if base.starts_with("https://") => {
                Self::Plain(base)
            }
            _ => Self::Other { base, source: Box::new(ureq::Error::Io(error)) },
        }
    }

    fn tls(base: String, error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidMessage(_) => Self::Plain(base),
            rustls::Error::AlertReceived(_) => Self::NoCertificate(base),
            rustls::Error::InvalidCertificate(error) => match error {
                CertificateError::UnknownIssuer => Self::Authority(base),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::Name(base)
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired(base),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYet(base)
                }
                // So it is said of one that signs itself and may sign others.
                CertificateError::Other(error) if error.to_string() == "CaUsedAsEndEntity" => {
                    Self::Authority(base)
                }
                error => Self::Certificate { base, why: error.to_string() },
            },
            other => Self::Other { base, source: Box::new(ureq::Error::Rustls(other)) },
        }
    }
}

/// The server's part of the URL of a request.
pub(super) fn base_of(url: &str) -> String {
    url.split_once("/-/").map_or(url, |(base, _)| base).to_owned()
}

fn host_of(base: &str) -> String {
    let authority = base.split_once("://").map_or(base, |(_, rest)| rest);
    let authority = authority.split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host.to_owned(),
        _ => authority.to_owned(),
    }
}
