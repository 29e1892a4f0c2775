//! Searches for the values of all secrets at once, in time linear in the searched bytes for any content and
//! number of secrets.

use std::collections::HashMap;
use std::fmt;

use aho_corasick::AhoCorasick;
use memchr::memmem;
use runtime::Secrets;

/// How many bytes of a value the automaton matches; the rest is compared at each match.
const PREFIX_MAX: usize = 128;

/// The budget of comparisons, per searched byte and as a minimum. Beyond it the text consists of prefixes of
/// values, and each value is searched separately.
const COMPARISONS_PER_BYTE: usize = 4;
const COMPARISONS_MIN: usize = 64 * 1024;

/// The values to search for.
#[derive(Default)]
pub(super) struct LeakSearch {
    automaton: Option<AhoCorasick>,
    /// By pattern of the automaton: the values with this prefix.
    values: Vec<Vec<Value>>,
}

struct Value {
    rest: Vec<u8>,
    /// The whole value.
    whole: Vec<u8>,
    secret: String,
}

/// A value that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Leak<'s> {
    /// Its offset.
    pub(super) at: usize,
    /// The name of the secret.
    pub(super) secret: &'s str,
}

impl LeakSearch {
    /// Builds a search for all values that are long enough.
    pub(super) fn new<'s>(secrets: impl IntoIterator<Item = &'s Secrets>) -> Self {
        let mut patterns: Vec<&[u8]> = Vec::new();
        let mut index: HashMap<&[u8], usize> = HashMap::new();
        let mut values: Vec<Vec<Value>> = Vec::new();
        for (needle, name) in secrets.into_iter().flat_map(Secrets::needles) {
            let (prefix, rest) = needle.as_bytes().split_at(needle.len().min(PREFIX_MAX));
            let at = *index.entry(prefix).or_insert_with(|| {
                patterns.push(prefix);
                values.push(Vec::new());
                patterns.len() - 1
            });
            let (rest, whole, secret) = (rest.to_vec(), needle.as_bytes().to_vec(), name.to_owned());
            values[at].push(Value { rest, whole, secret });
        }
        if patterns.is_empty() {
            return Self::default();
        }
        // The patterns have less than 100 KB.
        let automaton =
            AhoCorasick::new(&patterns).expect("few patterns of bounded length make an automaton");
        Self { automaton: Some(automaton), values }
    }

    /// Whether there is nothing to search for.
    pub(super) fn is_empty(&self) -> bool {
        self.automaton.is_none()
    }

    /// Finds a value in `text`, in most cases the first.
    pub(super) fn find(&self, text: &[u8]) -> Option<Leak<'_>> {
        let mut budget = text.len().saturating_mul(COMPARISONS_PER_BYTE).max(COMPARISONS_MIN);
        for found in self.automaton.as_ref()?.find_overlapping_iter(text) {
            for value in &self.values[found.pattern().as_usize()] {
                let following = &text[found.end()..];
                if following.len() < value.rest.len() {
                    continue;
                }
                if following.starts_with(&value.rest) {
                    return Some(Leak { at: found.start(), secret: &value.secret });
                }
                let same = value.rest.iter().zip(following).take_while(|(one, other)| one == other).count();
                match budget.checked_sub(same + 1) {
                    Some(rest) => budget = rest,
                    None => return self.find_separately(text),
                }
            }
        }
        None
    }

    fn find_separately(&self, text: &[u8]) -> Option<Leak<'_>> {
        let mut all = self.values.iter().flatten();
        all.find_map(|value| Some(Leak { at: memmem::find(text, &value.whole)?, secret: &value.secret }))
    }
}

impl fmt::Debug for LeakSearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.values.iter().flatten().map(|value| &value.secret);
        f.debug_set().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, Instant};

    use proptest::prelude::*;

    use super::*;

    fn search(values: &[&str]) -> LeakSearch {
        let named =
            values.iter().enumerate().map(|(number, value)| (format!("S{number}"), (*value).to_owned()));
        LeakSearch::new([&Secrets::new(named.collect::<BTreeMap<_, _>>())])
    }

    #[test]
    fn values_are_found_verbatim_and_json_escaped() {
        let search = search(&["tangerine", "say \"hi\"", "abc"]);
        let found = |text: &str| search.find(text.as_bytes()).map(|leak| (leak.at, leak.secret.to_owned()));
        assert_eq!(found("a tangerine"), Some((2, "S0".to_owned())));
        assert_eq!(found(r#"{"x": "say \"hi\""}"#), Some((7, "S1".to_owned())));
        assert_eq!(found("abc is too short, and tangerin is none"), None);
        assert!(LeakSearch::new([&Secrets::default()]).is_empty());
    }

    #[test]
    fn long_values_are_compared_to_their_end() {
        let long = "x".repeat(PREFIX_MAX) + "yz";
        let search = search(&[&long, &format!("{long}!")]);
        assert_eq!(search.find(format!("__{}y", "x".repeat(PREFIX_MAX)).as_bytes()), None);
        assert_eq!(search.find(format!("__x{long}").as_bytes()).map(|leak| leak.at), Some(3));
    }

    #[test]
    fn search_time_is_linear() {
        // Matches every prefix at every offset, and no value.
        let values: Vec<String> = (0..100).map(|n| format!("{}{n:03}", "a".repeat(16_000))).collect();
        let search = search(&values.iter().map(String::as_str).collect::<Vec<_>>());
        let took = |bytes: usize| {
            let text = vec![b'a'; bytes];
            let began = Instant::now();
            assert_eq!(search.find(&text), None);
            began.elapsed()
        };
        let (once, twice) = (took(500_000), took(1_000_000));
        println!("500 kB in {once:?}, 1 MB in {twice:?}");
        assert!(twice < once * 6 + Duration::from_millis(200), "{once:?} and {twice:?}");
        assert!(twice < Duration::from_secs(10), "{twice:?}");
    }

    proptest! {
        #[test]
        fn search_finds_exactly_the_contained_values(
            values in prop::collection::vec("[ab]{4,200}", 1..6),
            text in "[ab]{0,400}",
        ) {
            let search = search(&values.iter().map(String::as_str).collect::<Vec<_>>());
            let is_there = values.iter().any(|value| text.contains(value.as_str()));
            prop_assert_eq!(search.find(text.as_bytes()).is_some(), is_there);
        }
    }
}
