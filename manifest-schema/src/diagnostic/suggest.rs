//! "Did you mean".

/// The longest name that is compared with others, in bytes: the comparison costs their lengths multiplied.
const NAME_MAX: usize = 128;

/// The least likeness, from 0 to 1, at which a name is offered: about two slips in a word of six letters.
const LIKENESS_MIN: f64 = 0.6;

/// The shortest name that is taken for a slip of another, and the shortest in which two letters can be wrong.
const TYPO_NAME_MIN: usize = 3;
const LONG_NAME_MIN: usize = 7;

/// How much work all suggestions for one file may cost, in characters compared with characters. A few dozen misspelt
/// time zones fit, and a file of nothing but misspelt names takes a fraction of a second.
const COMPARISONS_MAX: usize = 20_000_000;

/// Offers names that were probably meant, while comparing is still cheap enough.
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
    /// The name among `known` that `wrong` was probably meant to be; the first of equals. The same name in other letter
    /// cases is always it; a huge name has none.
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
            .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
            .min_by(|(a, _), (b, _)| b.total_cmp(a))
            .map(|(_, name)| name)
    }

    /// The name among `known` of which `wrong` is a slip of the fingers: one letter more, less, other or swapped, or two in a name
    /// of seven letters or more. The same name in other letter cases, or with other `_`, is always it. Of names whose
    /// meanings are far apart this offers less than [`Suggestions::nearest`].
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

    /// [`Suggestions::nearest`] as help: ``did you mean `path`?``.
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
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        assert_eq!(near("pth", ["path", "methods"]), Some("path"));
        assert_eq!(near("zzz", ["path", "methods"]), None);
    }

    #[test]
    fn the_same_name_in_other_letters_is_near() {
        assert_eq!(near("get", ["PUT", "GET"]), Some("GET"));
    }

    #[test]
    fn slip_of_the_fingers_is_not_a_name_of_another_meaning() {
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
    fn a_huge_name_is_compared_with_nothing() {
        let huge = "x".repeat(100_000);
        assert_eq!(near(&huge, [huge.as_str()]), None);
    }

    #[test]
    fn suggestions_end_when_they_have_cost_enough() {
        let mut suggestions = Suggestions::default();
        let known = vec!["abcdefghij"; 10_000];
        let offered =
            (0..100).filter(|_| suggestions.nearest("abcdefghix", known.iter().copied()).is_some()).count();
        assert_eq!(offered, COMPARISONS_MAX / (10 * 10 * 10_000));
    }
}
