//! Flags, variables and config-file keys of earlier versions. They are rejected with their new name and form.

/// A removed flag of `picloud serve`, the flag that replaces it, and an example of its value.
type RemovedFlag = (&'static str, &'static str, &'static str);

const REMOVED_FLAGS: &[RemovedFlag] = &[
    ("connections", "max-connections", "10000"),
    ("head-time", "header-timeout", "20s"),
    ("body-time", "body-timeout", "30s"),
    ("answer-time", "write-timeout", "30s"),
    ("idle-time", "idle-timeout", "3m"),
    ("unready-time", "shutdown-delay", "5s"),
    ("drain-time", "shutdown-timeout", "10s"),
    ("push-bytes", "max-push-size", "32MiB"),
    ("push-objects", "max-push-objects", "20000"),
    ("object-bytes", "max-object-size", "8MiB"),
    ("inflated-bytes", "max-unpacked-size", "128MiB"),
    ("tree-entries", "max-tree-entries", "10000"),
    ("path-bytes", "max-path-length", "4KiB"),
    ("push-time", "push-timeout", "5m"),
    ("refs-per-app", "max-refs", "1000"),
    ("pushes-at-once", "max-concurrent-pushes", "4"),
    ("preview-days", "preview-ttl", "30d"),
    ("deploys-kept", "deploy-history-limit", "200"),
    ("deploys-days", "deploy-retention", "90d"),
    ("collect-after", "gc-grace-period", "10m"),
    ("catch-up-hours", "catch-up-window", "24h"),
    ("runs-days", "run-retention", "30d"),
    ("runs-kept", "run-history-limit", "10000"),
    ("logs-days", "execution-retention", "14d"),
    ("logs-bytes", "max-log-storage", "256MiB"),
    ("executions-bytes", "max-execution-storage", "128MiB"),
    ("audit-days", "audit-retention", "365d"),
    ("backup-warn", "backup-max-age", "7d"),
    ("database-connections", "database-max-connections", "16"),
    ("database-wait-time", "database-acquire-timeout", "5s"),
    ("database-statement-time", "database-statement-timeout", "20s"),
    ("own-names", "server-names", "cloud.lan,pi.lan"),
    ("domain-proof", "domain-verification", "off"),
    ("preview-certificates", "preview-certificates-per-week", "25"),
    ("app-schedule-runs", "app-schedule-runs-per-minute", "300"),
    // Of `picloud apps limits`.
    ("schedule-runs", "schedule-runs-per-minute", "300"),
];

/// The new flag for a removed one, with a value: `--header-timeout 20s`.
pub(super) fn flag(removed: &str) -> Option<String> {
    let removed = removed.strip_prefix("--")?.split('=').next()?;
    let (_, new, value) = find(removed)?;
    Some(format!("--{new} {value}"))
}

/// The new variable for a removed one, with a value: `PICLOUD_HEADER_TIMEOUT=20s`.
pub(super) fn variable(removed: &str) -> Option<String> {
    let flag = removed.strip_prefix("PICLOUD_")?.to_ascii_lowercase().replace('_', "-");
    let (_, new, value) = find(&flag)?;
    Some(format!("PICLOUD_{}={value}", new.replace('-', "_").to_ascii_uppercase()))
}

/// The new key of the config file for a removed one, with a value: `header_timeout = "20s"`.
pub(super) fn key(removed: &str) -> Option<String> {
    let (_, new, value) = find(&removed.replace('_', "-"))?;
    let key = new.replace('-', "_");
    match value.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Some(format!("{key} = {value}")),
        false => Some(format!("{key} = \"{value}\"")),
    }
}

fn find(removed: &str) -> Option<&'static RemovedFlag> {
    REMOVED_FLAGS.iter().find(|(flag, _, _)| *flag == removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::command;

    #[test]
    fn removed_flags_name_existing_flags_and_valid_values() {
        for (removed, new, value) in REMOVED_FLAGS {
            let takes = |arguments: &[&str]| {
                let flag = format!("--{new}");
                let all: Vec<&str> = arguments.iter().copied().chain([flag.as_str(), value]).collect();
                command().try_get_matches_from(all).map(|_| ())
            };
            let taken = match *removed {
                "schedule-runs" => takes(&["picloud", "apps", "limits"]),
                _ => takes(&["picloud", "serve"]),
            };
            assert!(taken.is_ok(), "--{new} {value}: {}", taken.unwrap_err());
            let serve = command().find_subcommand("serve").cloned().unwrap();
            let is_known = serve.get_arguments().any(|arg| arg.get_long() == Some(*removed));
            assert!(!is_known, "--{removed} exists");
        }
    }

    #[test]
    fn replacement_has_the_form_of_its_source() {
        assert_eq!(flag("--head-time=5s").as_deref(), Some("--header-timeout 20s"));
        assert_eq!(variable("PICLOUD_AUDIT_DAYS").as_deref(), Some("PICLOUD_AUDIT_RETENTION=365d"));
        assert_eq!(key("runs_kept").as_deref(), Some("run_history_limit = 10000"));
        assert_eq!(key("path_bytes").as_deref(), Some("max_path_length = \"4KiB\""));
        assert_eq!(key("listen"), None);
    }
}
