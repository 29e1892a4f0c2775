//! Path syntax of other routers, and its equivalents: `:id` (Express, Sinatra), `<id>` and `<int:id>` (Flask,
//! Rocket), `[id]` and `[...rest]` (Next.js), `*` and `**` (globs), `(.*)` (regular expressions), `{id:int}`,
//! `{rest...}` (ASP.NET, Go).

use super::Segment;

/// A literal segment that another router would capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ForeignCapture {
    /// The index of the segment.
    pub(crate) index: usize,
    /// The equivalent capture: `{id}`, `{*rest}`.
    pub(crate) capture: String,
}

/// The segments that another router would capture, in order.
pub(crate) fn foreign_captures(segments: &[Segment]) -> Vec<ForeignCapture> {
    let captured = |segment: &Segment| super::captured(segment).cloned();
    let mut taken: Vec<String> = segments.iter().filter_map(captured).collect();
    let mut foreign = Vec::new();
    for (index, segment) in segments.iter().enumerate() {
        let Segment::Literal(text) = segment else { continue };
        let Some(capture) = parse_capture(text) else { continue };
        let is_last = index + 1 == segments.len();
        let name = unique(&capture.name, &taken);
        foreign.push(ForeignCapture { index, capture: format_capture(&name, capture.is_rest && is_last) });
        taken.push(name);
    }
    foreign
}

/// A capture: its name, and whether it takes the remaining segments.
struct Capture {
    name: String,
    is_rest: bool,
}

/// The capture that a segment is in another router; `None` for literal text.
fn parse_capture(part: &str) -> Option<Capture> {
    let part_named = |name: &str| is_name(name).then(|| Capture { name: name.to_owned(), is_rest: false });
    let rest_named = |name: &str| Capture {
        name: if is_name(name) { name.to_owned() } else { "rest".to_owned() },
        is_rest: true,
    };
    if let Some((inner, _)) = part.strip_prefix('[').and_then(|part| part.split_once("].")) {
        return part_named(inner);
    }
    if let Some(inner) = between(part, "[", "]") {
        let inner = between(inner, "[", "]").unwrap_or(inner).trim_start_matches(':');
        return inner.strip_prefix("...").map(rest_named).or_else(|| part_named(inner));
    }
    if let Some(inner) = between(part, "<", ">") {
        let (kind, name) = inner.split_once(':').unwrap_or(("", inner));
        let capture = part_named(name)?;
        return Some(Capture { is_rest: kind == "path", ..capture });
    }
    if let Some(named) = part.strip_prefix(':') {
        let end = named.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(named.len());
        let (name, modifier) = named.split_at(end);
        return match modifier {
            "" => part_named(name),
            "*" | "+" => Some(rest_named(name)).filter(|_| is_name(name)),
            _ => part_named(name).filter(|_| modifier.starts_with(['(', '.', '-', '@'])),
        };
    }
    if let Some(name) = part.strip_prefix("**").or_else(|| part.strip_prefix('*'))
        && (name.is_empty() || is_name(name))
    {
        return Some(rest_named(name));
    }
    if part.contains('*') && !part.contains(['(', ')']) {
        return Some(Capture { name: "part".to_owned(), is_rest: false });
    }
    let is_rest = matches!(between(part, "(", ")")?, ".*" | ".+");
    Some(Capture { name: if is_rest { "rest" } else { "part" }.to_owned(), is_rest })
}

/// The capture for a segment with a pattern: `{id}` for `{id:\d+}` and `:id(\d+)`.
pub(super) fn repair_pattern(part: &str, is_last: bool) -> Option<String> {
    if part.starts_with('{') {
        return repair_capture(part, is_last);
    }
    let capture = parse_capture(part)?;
    Some(format_capture(&capture.name, capture.is_rest && is_last))
}

/// The likely capture for a segment with invalid braces: `{id}` for `{id:int}`, `{*rest}` for `{rest...}`. `None`
/// without a valid name.
pub(super) fn repair_capture(part: &str, is_last: bool) -> Option<String> {
    let open = part.find('{').map_or(0, |at| at + 1);
    let end = part[open..].find('}').map_or(part.len(), |at| open + at);
    let inner = part[open..end].trim_matches(|c: char| matches!(c, '{' | '}' | ' '));
    let (name, kind) = inner.split_once(':').unwrap_or((inner, ""));
    let is_rest = name.starts_with(['*', '.'])
        || name.ends_with('*')
        || name.ends_with("...")
        || matches!(kind, "path" | ".*" | ".+");
    let name = name.trim_matches(|c: char| matches!(c, '*' | '.' | '?' | ' ' | '$'));
    let name = match name {
        "" if is_rest => "rest".to_owned(),
        "" => "name".to_owned(),
        name => name.replace('-', "_"),
    };
    let name = if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name };
    is_name(&name).then(|| format_capture(&name, is_rest && is_last))
}

/// `name`, or the first of `name2`, `name3` ... that is not in `taken`.
pub(super) fn unique(name: &str, taken: &[String]) -> String {
    let numbered = (2..).map(|number| format!("{name}{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_else(|| name.to_owned())
}

fn format_capture(name: &str, is_rest: bool) -> String {
    if is_rest { format!("{{*{name}}}") } else { format!("{{{name}}}") }
}

pub(super) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn between<'t>(text: &'t str, open: &str, close: &str) -> Option<&'t str> {
    text.strip_prefix(open)?.strip_suffix(close)
}

#[cfg(test)]
mod tests {
    use super::super::RoutePath;
    use super::*;

    fn capture(path: &str) -> String {
        let path = RoutePath::parse(path).unwrap();
        let captures: Vec<_> =
            foreign_captures(path.segments()).into_iter().map(|foreign| foreign.capture).collect();
        captures.join(" ")
    }

    #[test]
    fn captures_of_other_routers_are_recognized() {
        for (path, captures) in [
            ("/users/:id", "{id}"),
            ("/users/:id/posts/:post_id", "{id} {post_id}"),
            ("/:id(d+)", "{id}"),
            ("/a/:path*", "{*path}"),
            ("/x/<name>", "{name}"),
            ("/x/<int:id>/y", "{id}"),
            ("/x/<path:rest>", "{*rest}"),
            ("/[id]", "{id}"),
            ("/blog/[...slug]", "{*slug}"),
            ("/blog/[[...slug]]", "{*slug}"),
            ("/files/*", "{*rest}"),
            ("/files/*path", "{*path}"),
            ("/files/**", "{*rest}"),
            ("/a/*/b/*", "{rest} {*rest2}"),
            ("/(.*)", "{*rest}"),
            ("/(foo|bar)", "{part}"),
            ("/a/[:id]", "{id}"),
            ("/users/[id].json", "{id}"),
            ("/:id.json", "{id}"),
            ("/*.php", "{part}"),
            ("/a*b", "{part}"),
            ("/{id}/:id", "{id2}"),
        ] {
            assert_eq!(capture(path), captures, "{path}");
        }
    }

    #[test]
    fn literals_are_not_captures() {
        for path in [
            "/",
            "/a/{b}/{*c}",
            "/v1/users:cancel",
            "/@ada",
            "/$metadata",
            "/x:y",
            "/:",
            "/[]",
            "/a(b)",
            "/~ada",
            "/:memory:",
        ] {
            assert_eq!(capture(path), "", "{path}");
        }
    }
}
