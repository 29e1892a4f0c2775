//! "Did you mean" suggestions.

/// The maximum length of a compared name, in bytes. The cost of a comparison is the product of both lengths.
const NAME_MAX: usize = 128;

/// The minimum similarity of a suggestion, from 0 to 1: about two typos in a word of six letters.
const SIMILARITY_MIN: f64 = 0.6;

/// The minimum length of a name with a typo, and of a name with two.
const TYPO_NAME_MIN: usize = 3;
const LONG_NAME_MIN: usize = 7;

/// The maximum cost of all suggestions for one file, in compared characters. It allows a few dozen misspelt time
/// zones, and bounds the time for a file of nothing but misspelt names to a fraction of a second.
const COMPARISONS_MAX: usize = 20_000_000;

/// Suggests similar names, within a budget for comparisons.
#[derive(Clone, Debug)]
pub struct Suggestions {
    comparisons_left: usize,
}

impl Default for Suggestions {
    fn default() -> Self {
        Self { comparisons_left: COMPARISONS_MAX }
    }
}

impl Suggestions {
    /// The name in `known` that is most similar to `wrong`, the first on a tie. A name that differs only in case
    /// always matches; a name beyond [`NAME_MAX`] never does.
    pub fn nearest<'k>(
        &mut self,
        wrong: &str,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Option<&'k str> {
        if wrong.len() > NAME_MAX {
            return None;
        }
        let known = known.filter(|name| name.len() <= NAME_MAX);
        let cost = known.clone().map(|name| name.len() * wrong.len()).sum();
        self.comparisons_left = self.comparisons_left.checked_sub(cost)?;
        known
            .map(|name| match name.eq_ignore_ascii_case(wrong) {
                true => (1.0, name),
                false => (strsim::normalized_damerau_levenshtein(wrong, name), name),
            })
            .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
            .min_by(|(a, _), (b, _)| b.total_cmp(a))
            .map(|(_, name)| name)
    }

    /// The name in `known` of which `wrong` is a typo: one letter inserted, deleted, replaced or transposed, or two
    /// in a name of seven letters or more. Names that differ only in case or `_` always match. Stricter than
    /// [`Suggestions::nearest`], for names with unrelated meanings.
    pub fn typo<'k>(&mut self, wrong: &str, known: impl Iterator<Item = &'k str> + Clone) -> Option<&'k str> {
        if wrong.len() > NAME_MAX || wrong.len() < TYPO_NAME_MIN {
            return None;
        }
        let most = if wrong.len() < LONG_NAME_MIN { 1 } else { 2 };
        let known =
            known.filter(|name| name.len() <= NAME_MAX && name.len().abs_diff(wrong.len()) <= LONG_NAME_MIN);
        let cost = known.clone().map(|name| name.len() * wrong.len()).sum();
        self.comparisons_left = self.comparisons_left.checked_sub(cost)?;
        let letters = |name: &str| name.replace('_', "").to_ascii_lowercase();
        let wrong_letters = letters(wrong);
        known
            .map(|name| match letters(name) == wrong_letters {
                true => (0, name),
                false => (strsim::damerau_levenshtein(wrong, name), name),
            })
            .filter(|(distance, _)| *distance <= most)
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, name)| name)
    }

    /// [`Suggestions::nearest`] as a help: ``did you mean `path`?``.
    pub fn did_you_mean<'k>(
        &mut self,
        wrong: &str,
        known: impl Iterator<Item = &'k str> + Clone,
    ) -> Option<String> {
        self.nearest(wrong, known).map(|near| format!("did you mean `{near}`?"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near<'k, const N: usize>(wrong: &str, known: [&'k str; N]) -> Option<&'k str> {
        Suggestions::default().nearest(wrong, known.into_iter())
    }

    #[test]
    fn nearest_name_is_suggested_and_a_distant_one_is_not() {
        assert_eq!(near("pth", ["path", "methods"]), Some("path"));
        assert_eq!(near("zzz", ["path", "methods"]), None);
    }

    #[test]
    fn name_in_other_case_is_suggested() {
        assert_eq!(near("get", ["PUT", "GET"]), Some("GET"));
    }

    #[test]
    fn typo_does_not_match_a_different_word() {
        let typo = |wrong, known| Suggestions::default().typo(wrong, [known].into_iter());
        for (wrong, known) in [
            ("trimm", "trim"),
            ("lgo::info", "log::info"),
            ("forEach", "for_each"),
            ("sub_strnig", "sub_string"),
        ] {
            assert_eq!(typo(wrong, known), Some(known));
        }
        for (wrong, known) in [("has", "chars"), ("rand", "range"), ("f", "g"), ("put", "pop")] {
            assert_eq!(typo(wrong, known), None);
        }
    }

    #[test]
    fn huge_name_is_not_compared() {
        let huge = "x".repeat(100_000);
        assert_eq!(near(&huge, [huge.as_str()]), None);
    }

    #[test]
    fn suggestions_stop_when_the_budget_is_spent() {
        let mut suggestions = Suggestions::default();
        let known = vec!["abcdefghij"; 10_000];
        let offered =
            (0..100).filter(|_| suggestions.nearest("abcdefghix", known.iter().copied()).is_some()).count();
        assert_eq!(offered, COMPARISONS_MAX / (10 * 10 * 10_000));
    }
}
