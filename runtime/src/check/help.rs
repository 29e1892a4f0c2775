//! The help for an error: a text, and the edit of the source that it describes.

use std::ops::Range;

/// The maximum length of code in a help text, in characters.
const CODE_MAX: usize = 80;

/// An edit of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    /// The bytes to replace.
    pub(super) replace: Range<usize>,
    pub(super) with: String,
}

/// The help for an error. Help with code to write has an edit too; both are created from the same code here, so that
/// the tests apply the text that authors read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Help {
    pub(super) text: String,
    pub(super) edit: Option<Edit>,
}

impl Help {
    /// A text without an edit.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), edit: None }
    }

    /// ``write `code` `` in place of `replace`.
    pub(super) fn write(code: impl Into<String>, replace: Range<usize>) -> Self {
        Self::code("write ", code, replace, "")
    }

    /// The same with another prefix, or `otherwise` if the code is too long.
    pub(super) fn code(
        before: &str,
        code: impl Into<String>,
        replace: Range<usize>,
        otherwise: &str,
    ) -> Self {
        let with = code.into();
        let code = with.trim();
        let is_short = code.chars().count() <= CODE_MAX && !code.contains('\n');
        let text = match is_short {
            // Code with backquotes is shown as it is.
            true if code.contains('`') => format!("{before}{code}"),
            true => format!("{before}`{code}`"),
            false if otherwise.is_empty() => {
                let beginning: String =
                    code.lines().next().unwrap_or_default().chars().take(CODE_MAX).collect();
                format!("{before}`{beginning} …`")
            }
            false => otherwise.to_owned(),
        };
        Self { text, edit: Some(Edit { replace, with }) }
    }

    /// A text for an edit that removes code.
    pub(super) fn remove(text: impl Into<String>, replace: Range<usize>) -> Self {
        Self::edit(text, "", replace)
    }

    /// A text for an edit whose code is not shown.
    pub(super) fn edit(text: impl Into<String>, with: impl Into<String>, replace: Range<usize>) -> Self {
        Self { text: text.into(), edit: Some(Edit { replace, with: with.into() }) }
    }

    /// ``did you mean `name`?``
    pub(super) fn did_you_mean(name: &str, replace: Range<usize>) -> Self {
        Self::edit(format!("did you mean `{name}`?"), name, replace)
    }
}
