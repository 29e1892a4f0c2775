//! Tables with aligned columns.

use super::printable;
use super::style::bold;

/// Renders a table. Each row has one column for each of `names`.
pub(crate) fn table(names: &[&str], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|text| printable(text)).collect()).collect();
    let width = |column: usize| {
        let texts = rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count());
        texts.chain(names.get(column).map(|name| name.chars().count())).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..names.len()).map(width).collect();
    let line = |texts: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> = texts.zip(&widths).map(|(text, width)| format!("{text:<width$}")).collect();
        format!("{}\n", padded.join("  ").trim_end())
    };
    let mut text = bold(line(&mut names.iter().copied()).trim_end()) + "\n";
    for row in &rows {
        text += &line(&mut row.iter().map(String::as_str));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["longer\n".to_owned(), String::new()]];
        let text = anstream::adapter::strip_str(&table(&["NAME", "N"], &rows)).to_string();
        assert_eq!(text, "NAME         N\na            1\nlonger\\u{a}\n");
    }
}
