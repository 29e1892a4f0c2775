//! DNS labels of apps and branches: `shop.DOMAIN` and `feature--shop.DOMAIN`. Different names have different labels.
//!
//! A plain name is its own label. For other names (`feature/login`, `QA`, too long ones) the label is a readable part
//! and a hash of the whole name: `feature-login-6zfhxepdb0tcs`. Three rules keep the mapping one-to-one:
//!
//! - No label contains `--`, so the only `--` in a host separates the branch from the app.
//! - A name that ends like a hash is not plain, so it never equals the label of another name.
//! - A branch of two letters gets a suffix: in `qa--shop`, the `--` would be at the third and fourth position of the
//!   label, which certificate authorities reject (RFC 5891 section 4.2.3.1). A branch that already has this suffix
//!   gets a hash.
//!
//! Finding a second name with a given hash takes about 2^63 attempts.

use sha2::{Digest as _, Sha256};

use crate::name::AppName;

/// The maximum length of a DNS label (RFC 1035 section 2.3.4).
const LABEL_LEN_MAX: usize = 63;

/// The maximum length of an app's label. At least 21 characters remain for the branch.
const APP_LABEL_LEN_MAX: usize = 40;

/// The separator between the labels of branch and app.
const SEPARATOR: &str = "--";

/// The suffix of a branch of two letters.
const SHORT_BRANCH_SUFFIX: &str = "-preview";

/// Crockford's base 32, without easily confused letters.
const BASE_32: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The length of a hash: 63 bits, so that it starts with a digit from 0 to 7 and no word looks like one.
const HASH_LEN: usize = 13;

/// The label of an app.
pub fn app_label(app: &AppName) -> String {
    let name = app.as_str();
    if is_plain(name) { name.to_owned() } else { hashed(name, APP_LABEL_LEN_MAX) }
}

/// The label of a branch of an app. Together with the app's label it fits in one DNS label.
pub fn branch_label(app: &AppName, branch: &str) -> String {
    let len_max = LABEL_LEN_MAX - SEPARATOR.len() - app_label(app).len();
    let has_suffix = branch.strip_suffix(SHORT_BRANCH_SUFFIX).is_some_and(|stem| stem.len() == 2);
    match branch.len() {
        2 if is_plain(branch) => format!("{branch}{SHORT_BRANCH_SUFFIX}"),
        len if len <= len_max && is_plain(branch) && !has_suffix => branch.to_owned(),
        _ => hashed(branch, len_max),
    }
}

/// The first label of a preview's host.
pub fn preview_host(app: &AppName, branch_label: &str) -> String {
    format!("{branch_label}{SEPARATOR}{}", app_label(app))
}

/// Splits the first label of a host into the labels of app and branch.
pub fn split_host(label: &str) -> (&str, Option<&str>) {
    match label.split_once(SEPARATOR) {
        Some((branch, app)) => (app, Some(branch)),
        None => (label, None),
    }
}

/// Whether a name is its own label, if it is short enough.
pub fn is_plain(name: &str) -> bool {
    let characters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    characters && name.split('-').all(|part| !part.is_empty()) && !ends_in_hash(name)
}

fn ends_in_hash(name: &str) -> bool {
    let last = name.rsplit('-').next().unwrap_or_default().as_bytes();
    let begins = last.first().is_some_and(|first| (b'0'..=b'7').contains(first));
    begins && last.len() == HASH_LEN && last.iter().all(|digit| BASE_32.contains(digit))
}

/// The readable part of a name, and its hash.
fn hashed(name: &str, len_max: usize) -> String {
    let mut label = String::new();
    let readable_len_max = len_max - HASH_LEN - 1;
    for part in name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| !part.is_empty()) {
        let hyphen = if label.is_empty() { "" } else { "-" };
        let left = readable_len_max.saturating_sub(label.len() + hyphen.len());
        if left == 0 {
            break;
        }
        label += hyphen;
        label += &part[..part.len().min(left)].to_ascii_lowercase();
    }
    if !label.is_empty() {
        label.push('-');
    }
    label + &hash(name)
}

fn hash(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    let bits = digest.iter().take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte)) >> 1;
    (0..HASH_LEN).rev().map(|place| char::from(BASE_32[(bits >> (5 * place)) as usize % 32])).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn app(name: &str) -> AppName {
        AppName::new(name).unwrap()
    }

    /// The first label of the host of an app, or of one of its branches.
    fn host(app: &AppName, branch: Option<&str>) -> String {
        match branch {
            Some(branch) => preview_host(app, &branch_label(app, branch)),
            None => app_label(app),
        }
    }

    fn label(name: &str) -> String {
        branch_label(&app("shop"), name)
    }

    /// Whether DNS and certificate authorities accept a label.
    fn is_sound(label: &str) -> bool {
        let characters = label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        let ends = label.starts_with('-') || label.ends_with('-');
        characters && !ends && (1..=63).contains(&label.len()) && label.get(2..4) != Some("--")
    }

    #[test]
    fn plain_names_are_their_own_labels() {
        for name in ["a", "dev", "feature-login", "1", "v1-2", "a-b-c", "notifications", "rearrangement"] {
            assert_eq!(label(name), name);
        }
        for name in ["a", "qa", "shop", "my-shop-2"] {
            assert_eq!(app_label(&app(name)), name);
        }
        assert_eq!(host(&app("shop"), Some("dev")), "dev--shop");
    }

    #[test]
    fn other_names_become_a_readable_part_and_a_hash() {
        assert_eq!(label("qa"), "qa-preview");
        for (name, readable) in [
            ("feature/login", "feature-login-"),
            ("Feature/Über_1", "feature-ber-1-"),
            ("ABC-12", "abc-12-"),
            ("QA", "qa-"),
            ("qa-preview", "qa-preview-"),
            ("a--b", "a-b-"),
            ("-a-", "a-"),
            ("xn--bcher-kva", "xn-bcher-kva-"),
            ("日本", ""),
        ] {
            let label = label(name);
            assert!(label.starts_with(readable) && label.len() == readable.len() + HASH_LEN, "{label}");
            assert!(ends_in_hash(&label), "{label}");
        }
        // Stable across versions: clients use these URLs.
        assert_eq!(label("feature/login"), "feature-login-6zfhxepdb0tcs");
        assert_eq!(app_label(&app("qa--shop")), "qa-shop-4pcvvn8p3mpvx");
    }

    #[test]
    fn similar_names_have_different_labels() {
        let met = [
            [("qa--shop", None), ("shop", Some("qa"))],
            [("c", Some("a--b")), ("b--c", Some("a"))],
            [("shop", Some("ABC-12")), ("shop", Some("XYZ-12"))],
            [("shop", Some("QA")), ("shop", Some("qa"))],
            [("shop", Some("a/b")), ("shop", Some("a-b"))],
            [("shop", Some("-a")), ("shop", Some("a"))],
            [("shop", Some("日本")), ("shop", Some("中国"))],
            [("shop", Some("qa-preview")), ("shop", Some("qa"))],
        ];
        for [(one, of_one), (other, of_other)] in met {
            assert_ne!(host(&app(one), of_one), host(&app(other), of_other));
        }
        let long = "a".repeat(80);
        assert_ne!(label(&long), label(&long[1..]));
    }

    /// Names built from the parts of labels.
    fn tricky() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            Just("-".to_owned()),
            Just("--".to_owned()),
            Just("-preview".to_owned()),
            Just("xn--".to_owned()),
            "[a-cA-C]{1,2}",
            "[0-9a-z]{13}",
            "[a-b-]{1,70}",
            "[/_.üß日]{1,2}",
        ];
        vec(part, 1..5).prop_map(|parts| parts.concat())
    }

    fn branches() -> impl Strategy<Value = String> {
        prop_oneof![3 => tricky(), 1 => "\\PC{1,80}", 1 => "[a-b]{1,3}"]
    }

    fn apps() -> impl Strategy<Value = AppName> {
        let names = prop_oneof!["[a-b]{1,3}", "[a-b][a-b-]{0,38}[a-b]", "[a-b]-[0-7][0-9a-z]{12}", tricky()];
        names.prop_filter_map("no name of an app", |name| AppName::new(&name).ok())
    }

    proptest! {
        #[test]
        fn hosts_are_valid_and_split_into_their_labels(app in apps(), branch in branches()) {
            let (production, preview) = (host(&app, None), host(&app, Some(&branch)));
            prop_assert!(is_sound(&production), "{production}");
            prop_assert!(is_sound(&preview), "{preview}");
            let (of_app, of_branch) = (app_label(&app), branch_label(&app, &branch));
            prop_assert_eq!(split_host(&production), (of_app.as_str(), None));
            prop_assert_eq!(split_host(&preview), (of_app.as_str(), Some(of_branch.as_str())));
        }

        #[test]
        fn different_names_have_different_hosts(
            apps in vec(apps(), 1..6),
            branches in vec(branches(), 1..16),
        ) {
            let mut hosts = HashMap::new();
            // The labels and hosts of other apps are names that could collide.
            let labels = apps.iter().flat_map(|app| branches.iter().map(|branch| branch_label(app, branch)));
            let more_branches: Vec<String> = branches.iter().cloned().chain(labels).collect();
            let taken = apps.iter().flat_map(|app| {
                let of_branches = more_branches.iter().map(|branch| host(app, Some(branch)));
                of_branches.chain([host(app, None)]).filter_map(|host| AppName::new(&host).ok())
            });
            let more_apps: Vec<AppName> = apps.iter().cloned().chain(taken).collect();
            for app in &more_apps {
                for branch in more_branches.iter().map(|branch| Some(branch.as_str())).chain([None]) {
                    let name = (app, branch);
                    let other = *hosts.entry(host(app, branch)).or_insert(name);
                    prop_assert_eq!(other, name);
                }
            }
        }
    }
}
