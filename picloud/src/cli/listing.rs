//! Arguments of list commands, and id prefixes.

use std::fmt;
use std::str::FromStr;

use clap::Args;

/// The page of a list.
#[derive(Clone, Debug, Args)]
pub(crate) struct PageArgs {
    /// Maximum number of entries to list.
    #[arg(short = 'n', long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,

    /// List entries before this cursor. The last line of a list prints the cursor of the next page.
    #[arg(long, value_name = "CURSOR")]
    pub(crate) before: Option<String>,
}

/// An id or a unique prefix of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdPrefix(String);

impl IdPrefix {
    /// The minimum length of a prefix.
    const LENGTH_MIN: usize = 4;

    /// Whether this is a prefix of an id.
    pub(crate) fn matches(&self, id: &str) -> bool {
        id.starts_with(&self.0)
    }

    /// The id, if it is complete.
    pub(crate) fn full_id(&self) -> Option<&str> {
        uuid::Uuid::parse_str(&self.0).ok().map(|_| self.0.as_str())
    }
}

impl FromStr for IdPrefix {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.to_ascii_lowercase();
        let is_part = |(at, byte): (usize, u8)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        };
        if (Self::LENGTH_MIN..=36).contains(&text.len()) && text.bytes().enumerate().all(is_part) {
            Ok(Self(text))
        } else {
            Err(
                "write an id such as 019f2c1e-7b1a-7c3e-9d7e-0a1b2c3d4e5f, or its first four or more characters",
            )
        }
    }
}

impl fmt::Display for IdPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefix_matches_an_id() {
        let id = "019f2c1e-7b1a-7c3e-9d7e-0a1b2c3d4e5f";
        for prefix in ["019f", "019F2C1E", "019f2c1e-", "019f2c1e-7b1a-7", id] {
            let prefix: IdPrefix = prefix.parse().unwrap();
            assert!(prefix.matches(id));
            assert_eq!(prefix.full_id().is_some(), prefix.0.len() == 36);
        }
        for wrong in ["", "019", "hello", "019f2c1e7b1a", "019f2c1e-7b1a-7c3e-9d7e-0a1b2c3d4e5f0"] {
            assert!(wrong.parse::<IdPrefix>().is_err(), "{wrong}");
        }
    }
}
