//! What a repository's config says, as far as this host honours it.

use std::path::{Path, PathBuf};

use gix_ref::store::WriteReflog;

use crate::Failure;
use crate::service::Service;

/// What to do with a push that pulls the rug from under someone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deny {
    Ignore,
    Warn,
    Refuse,
}

/// The settings of one repository for one service.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) bare: bool,
    pub(crate) deny_non_fast_forwards: bool,
    pub(crate) deny_deletes: bool,
    pub(crate) deny_current_branch: Deny,
    pub(crate) deny_delete_current: Deny,
    pub(crate) reflog: WriteReflog,
    pub(crate) hooks: PathBuf,
    /// Who the reflogs say it was: name and address.
    pub(crate) committer: (String, String),
    /// The most bytes of a pack; none or 0: as many as the host takes.
    pub(crate) input_max: Option<u64>,
    hidden: Vec<String>,
}

impl Settings {
    /// Reads the config of the repository in `git_dir`, and the user's.
    pub(crate) fn read(git_dir: &Path, service: Service) -> Result<Self, Failure> {
        let config = gix_config::File::from_git_dir(git_dir.to_owned())?;
        let text = |key: &str| config.string(key).map(|value| value.to_string());
        let is_set = |key: &str| Ok::<_, Failure>(config.boolean(key)?.unwrap_or(false));
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
            // Hooks run in the git directory, which is also what a relative path begins at.
            hooks: git_dir.join(text("core.hooksPath").unwrap_or_else(|| "hooks".to_owned())),
            committer: (
                name.unwrap_or_else(|| "plain-host".to_owned()),
                address.unwrap_or_else(|| "plain-host@localhost".to_owned()),
            ),
            input_max: config.integer("receive.maxInputSize")?.and_then(|bytes| u64::try_from(bytes).ok()),
            hidden: hidden(&config, section),
        })
    }

    /// Whether the service is to behave as if there were no such ref. The last pattern that fits decides; `!` in front
    /// shows again what an earlier one hides.
    pub(crate) fn hides(&self, name: &str) -> bool {
        for pattern in self.hidden.iter().rev() {
            let (shown, pattern) =
                pattern.strip_prefix('!').map_or((false, pattern.as_str()), |rest| (true, rest));
            // `^` anchors a pattern behind the namespace, and there are none here.
            let pattern = pattern.strip_prefix('^').unwrap_or(pattern).trim_end_matches('/');
            if name.strip_prefix(pattern).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
                return !shown;
            }
        }
        false
    }
}

/// What `hideRefs` says for all services and for this one, in the order of the config: the last that fits decides.
fn hidden(config: &gix_config::File, service: &str) -> Vec<String> {
    let concerns = |name: &str| name.eq_ignore_ascii_case("transfer") || name.eq_ignore_ascii_case(service);
    config
        .sections()
        .filter(|section| {
            let header = section.header();
            header.subsection_name().is_none() && concerns(&header.name().to_string())
        })
        .flat_map(|section| section.values("hideRefs"))
        .map(|value| value.to_string())
        .collect()
}

/// `updateInstead` would change a work tree, which this host never does, so that it refuses.
fn deny(value: Option<String>) -> Deny {
    match value.map(|value| value.to_ascii_lowercase()).as_deref() {
        Some("ignore" | "false" | "no" | "off" | "0") => Deny::Ignore,
        Some("warn") => Deny::Warn,
        _ => Deny::Refuse,
    }
}
