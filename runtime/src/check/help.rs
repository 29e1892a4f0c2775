//! What to do about a diagnostic: words, and the change of the source that they mean.

use std::ops::Range;

/// The longest code that is shown in a line of help, in characters.
const CODE_MAX: usize = 80;

/// A change of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The bytes to replace.
    pub(super) replace: Range<usize>,
    pub(super) with: String,
}

/// What to do about a diagnostic. Advice that holds code to write is an edit too; words and edit are made of one code here, so that
/// what people read is what the tests apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Help {
    pub(super) words: String,
    pub(super) edit: Option<Edit>,
}

impl Help {
    /// Words on what no single change mends.
    pub(super) fn words(words: impl Into<String>) -> Self {
        Self { words: words.into(), edit: None }
    }

    /// ``write `code` `` in place of what stands at `replace`.
    pub(super) fn write(code: impl Into<String>, replace: Range<usize>) -> Self {
        Self::shown("write ", code, replace, "")
    }

    /// The same with a reason after the code, or `otherwise` alone where the code is long.
    pub(super) fn shown(
        before: &str,
        code: impl Into<String>,
        replace: Range<usize>,
        otherwise: &str,
    ) -> Self {
        let with = code.into();
        let shown = with.trim();
        let is_short = shown.chars().count() <= CODE_MAX && !shown.contains('\n');
        let words = match is_short {
            // What is quoted in backquotes already is shown as it stands.
            true if shown.contains('`') => format!("{before}{shown}"),
            true => format!("{before}`{shown}`"),
            false if otherwise.is_empty() => {
                let beginning: String =
                    shown.lines().next().unwrap_or_default().chars().take(CODE_MAX).collect();
                format!("{before}`{beginning} …`")
            }
            false => otherwise.to_owned(),
        };
        Self { words, edit: Some(Edit { replace, with }) }
    }

    /// Words on an edit that puts nothing in the place of something.
    pub(super) fn leave_out(words: impl Into<String>, replace: Range<usize>) -> Self {
        Self::described(words, "", replace)
    }

    /// Words that describe an edit whose code would show nothing.
    pub(super) fn described(
        words: impl Into<String>,
        with: impl Into<String>,
        replace: Range<usize>,
    ) -> Self {
        Self { words: words.into(), edit: Some(Edit { replace, with: with.into() }) }
    }

    /// ``did you mean `name`?``
    pub(super) fn did_you_mean(name: &str, replace: Range<usize>) -> Self {
        Self::described(format!("did you mean `{name}`?"), name, replace)
    }
}
