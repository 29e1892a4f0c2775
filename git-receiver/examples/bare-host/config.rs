//! The parts of a repository's config that this host supports.

use std::path::{Path, PathBuf};

use gix_ref::store::WriteReflog;

use crate::BoxError;
use crate::service::Service;

/// Values of `receive.denyCurrentBranch` and `receive.denyDeleteCurrent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deny {
    Ignore,
    Warn,
    Refuse,
}

/// The config of one repository for one service.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) bare: bool,
    pub(crate) deny_non_fast_forwards: bool,
    pub(crate) deny_deletes: bool,
    pub(crate) deny_current_branch: Deny,
    pub(crate) deny_delete_current: Deny,
    pub(crate) reflog: WriteReflog,
    pub(crate) hooks: PathBuf,
    /// The name and email for reflog entries.
    pub(crate) committer: (String, String),
    /// The limit on pack bytes (`receive.maxInputSize`); none or 0: the host's own limit.
    pub(crate) input_max: Option<u64>,
    hidden: Vec<String>,
}

impl Config {
    /// Reads the config of the repository in `git_dir`, and the user's.
    pub(crate) fn read(git_dir: &Path, service: Service) -> Result<Self, BoxError> {
        let config = gix_config::File::from_git_dir(git_dir.to_owned())?;
        let text = |key: &str| config.string(key).map(|value| value.to_string());
        let is_set = |key: &str| Ok::<_, BoxError>(config.boolean(key)?.unwrap_or(false));
        let section = match service {
            Service::ReceivePack => "receive",
            Service::UploadPack => "uploadpack",
        };
        let bare = config.boolean("core.bare")?.unwrap_or_else(|| !git_dir.ends_with(".git"));
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let name = variable("GIT_COMMITTER_NAME").or_else(|| text("user.name"));
        let address = variable("GIT_COMMITTER_EMAIL").or_else(|| text("user.email"));
        Ok(Self {
            bare,
            deny_non_fast_forwards: is_set("receive.denyNonFastForwards")?,
            deny_deletes: is_set("receive.denyDeletes")?,
            deny_current_branch: deny(text("receive.denyCurrentBranch")),
            deny_delete_current: deny(text("receive.denyDeleteCurrent")),
            reflog: match text("core.logAllRefUpdates") {
                Some(value) if value.eq_ignore_ascii_case("always") => WriteReflog::Always,
                None if bare => WriteReflog::Disable,
                None => WriteReflog::Normal,
                Some(_) if is_set("core.logAllRefUpdates")? => WriteReflog::Normal,
                Some(_) => WriteReflog::Disable,
            },
            // Hooks run in the git directory, and a relative path starts there too.
            hooks: git_dir.join(text("core.hooksPath").unwrap_or_else(|| "hooks".to_owned())),
            committer: (
                name.unwrap_or_else(|| "bare-host".to_owned()),
                address.unwrap_or_else(|| "bare-host@localhost".to_owned()),
            ),
            input_max: config.integer("receive.maxInputSize")?.and_then(|bytes| u64::try_from(bytes).ok()),
            hidden: hidden(&config, section),
        })
    }

    /// Whether the ref is hidden from the service. The last matching pattern wins; a `!` in front negates it.
    pub(crate) fn hides(&self, name: &str) -> bool {
        for pattern in self.hidden.iter().rev() {
            let (shown, pattern) =
                pattern.strip_prefix('!').map_or((false, pattern.as_str()), |rest| (true, rest));
            // `^` anchors a pattern before namespaces are stripped; this host has no namespaces.
            let pattern = pattern.strip_prefix('^').unwrap_or(pattern).trim_end_matches('/');
            if name.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return !shown;
            }
        }
        false
    }
}

/// The `hideRefs` values for all services and for this one, in config order: the last match wins.
fn hidden(config: &gix_config::File, service: &str) -> Vec<String> {
    let applies = |name: &str| name.eq_ignore_ascii_case("transfer") || name.eq_ignore_ascii_case(service);
    config
        .sections()
        .filter(|section| {
            let header = section.header();
            header.subsection_name().is_none() && applies(&header.name().to_string())
        })
        .flat_map(|section| section.values("hideRefs"))
        .map(|value| value.to_string())
        .collect()
}

/// `updateInstead` would change a work tree, which this host does not support, so that it refuses.
fn deny(value: Option<String>) -> Deny {
    match value.map(|value| value.to_ascii_lowercase()).as_deref() {
        Some("ignore" | "false" | "no" | "off" | "0") => Deny::Ignore,
        Some("warn") => Deny::Warn,
        _ => Deny::Refuse,
    }
}
