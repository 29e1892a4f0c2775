//! Errors of the connection to a server.

use std::borrow::Cow;
use std::io;
use std::time::Duration;

use rustls::CertificateError;

use crate::hint::Hint;

/// The timeout of a request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Why the connection to a server failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    #[error("invalid URL {0}")]
    InvalidUrl(String),
    #[error("cannot connect to {0}: connection refused")]
    Refused(String),
    #[error("cannot connect to {base}: host {host} not found")]
    HostNotFound { base: String, host: String },
    #[error("cannot connect to {0}: no response within {seconds} s", seconds = REQUEST_TIMEOUT.as_secs())]
    Timeout(String),
    #[error("{0} does not support TLS")]
    NotTls(String),
    #[error("{0} does not support plain HTTP")]
    TlsRequired(String),
    #[error("the certificate of {0} is signed by an unknown authority")]
    UnknownAuthority(String),
    #[error("the certificate of {0} is for another host name")]
    NameMismatch(String),
    #[error("the certificate of {0} has expired, according to the clock of this machine")]
    Expired(String),
    #[error("the certificate of {0} is not valid yet, according to the clock of this machine")]
    NotYetValid(String),
    #[error("invalid certificate of {base}: {reason}")]
    InvalidCertificate { base: String, reason: String },
    #[error("{0} has no certificate for this host name")]
    NoCertificate(String),
    #[error("cannot connect to {base}")]
    Other { base: String, source: Box<ureq::Error> },
}

impl Hint for ConnectionError {
    fn hint(&self) -> Option<Cow<'static, str>> {
        Some(match self {
            Self::InvalidUrl(_) => "write a URL without a path, such as https://pi.example.com".into(),
            Self::Refused(_) | Self::Timeout(_) | Self::Other { .. } => {
                "check that the server is running, or set another URL with --url, PICLOUD_URL or the remote `picloud`"
                    .into()
            }
            Self::HostNotFound { .. } => "check the host name in --url, PICLOUD_URL or the remote `picloud`".into(),
            Self::NotTls(base) => format!("use {}", base.replacen("https://", "http://", 1)).into(),
            Self::TlsRequired(base) => format!("use {}", base.replacen("http://", "https://", 1)).into(),
            Self::UnknownAuthority(_) => {
                "install the certificate of the authority on this machine, or set SSL_CERT_FILE to its file"
                    .into()
            }
            Self::NameMismatch(_) => "use the host name of the certificate".into(),
            Self::Expired(_) => "renew the certificate on the server".into(),
            Self::NotYetValid(_) => "check the clock of this machine".into(),
            Self::InvalidCertificate { .. } => return None,
            Self::NoCertificate(_) => "use the domain of the server".into(),
        })
    }
}

impl ConnectionError {
    /// Classifies an error of the HTTP client for a request to `url`.
    pub(super) fn new(url: &str, error: ureq::Error) -> Self {
        let base = base_of(url);
        match error {
            ureq::Error::BadUri(_) | ureq::Error::Http(_) => Self::InvalidUrl(base),
            ureq::Error::HostNotFound => Self::HostNotFound { host: host_of(&base), base },
            ureq::Error::Timeout(_) => Self::Timeout(base),
            ureq::Error::Tls(_) => Self::NoCertificate(base),
            ureq::Error::Rustls(error) => Self::tls(base, error),
            ureq::Error::Protocol(_) if base.starts_with("http://") => Self::TlsRequired(base),
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
            // The resolver has no error kind.
            _ if error.to_string().starts_with("failed to lookup address") => {
                Self::HostNotFound { host: host_of(&base), base }
            }
            // A plain HTTP server closes the connection after a TLS handshake.
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset if base.starts_with("https://") => {
                Self::NotTls(base)
            }
            _ => Self::Other { base, source: Box::new(ureq::Error::Io(error)) },
        }
    }

    fn tls(base: String, error: rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidMessage(_) => Self::NotTls(base),
            rustls::Error::AlertReceived(_) => Self::NoCertificate(base),
            rustls::Error::InvalidCertificate(error) => match error {
                CertificateError::UnknownIssuer => Self::UnknownAuthority(base),
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                    Self::NameMismatch(base)
                }
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired(base),
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::NotYetValid(base)
                }
                // The error for a self-signed CA certificate.
                CertificateError::Other(error) if error.to_string() == "CaUsedAsEndEntity" => {
                    Self::UnknownAuthority(base)
                }
                error => Self::InvalidCertificate { base, reason: error.to_string() },
            },
            other => Self::Other { base, source: Box::new(ureq::Error::Rustls(other)) },
        }
    }
}

/// The base URL of a request URL.
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
