//! fsck of submodule URLs, including how vulnerable git versions interpret them: as another host for credentials, or as a
//! command-line option.

use gix_object::bstr::ByteSlice as _;

/// Characters that must be escaped, besides control characters and non-ASCII.
const UNSAFE: &[u8] = b" <>\"%{}|\\^`";
/// Escapes that are kept, because decoding them would change the structure of the URL.
const RESERVED: &[u8] = b":/?#[]@!$&'()*+,;=";

/// Whether `url` is safe for a submodule.
pub(super) fn is_safe(url: &[u8]) -> bool {
    if url.starts_with(b"-") {
        return false;
    }
    if step(url).is_some() || url.starts_with(b"git://") {
        // A relative URL is joined with the superproject's and decoded after that.
        return !holds_line_break(url) && !escapes(url);
    }
    over_http(url).is_none_or(|url| normalized(url).is_some_and(|url| !holds_line_break(&url)))
}

/// The leading `./` or `../` of a URL: whether it leads up, and the rest.
fn step(url: &[u8]) -> Option<(bool, &[u8])> {
    let (up, rest) =
        url.strip_prefix(b"..").map_or((false, url.strip_prefix(b".")), |rest| (true, Some(rest)));
    match rest? {
        [b'/' | b'\\', rest @ ..] => Some((up, rest)),
        _ => None,
    }
}

/// Whether a relative URL leads up to where it can replace the host.
fn escapes(url: &[u8]) -> bool {
    let (mut rest, mut leads_up) = (url, false);
    while let Some((up, remainder)) = step(rest) {
        leads_up |= up;
        rest = remainder;
    }
    leads_up && matches!(rest.first(), Some(b':' | b'/'))
}

/// Whether `url` contains a line feed after decoding. Nothing before the first colon is decoded.
fn holds_line_break(url: &[u8]) -> bool {
    let encoded = &url[url.find_byte(b':').unwrap_or(0)..];
    url.contains(&b'\n') || encoded.windows(3).any(|part| part.eq_ignore_ascii_case(b"%0a"))
}

/// The URL that git passes to its HTTP remote helper, if it does.
fn over_http(url: &[u8]) -> Option<&[u8]> {
    let schemes = [&b"http:"[..], b"https:", b"ftp:", b"ftps:"];
    let rest = schemes.iter().find_map(|scheme| url.strip_prefix(*scheme))?;
    rest.strip_prefix(b":").or_else(|| rest.starts_with(b"//").then_some(url))
}

/// `url` without unnecessary escapes and without `.` and `..` segments; `None` if git does not accept the URL.
fn normalized(url: &[u8]) -> Option<Vec<u8>> {
    let (scheme, rest) = url.split_once_str("://")?;
    let is_scheme = scheme.first()?.is_ascii_alphabetic()
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(byte));
    if !is_scheme {
        return None;
    }
    let mut out = [&scheme.to_ascii_lowercase(), &b"://"[..]].concat();
    let (authority, rest) = rest.split_at(end_of_part(rest));
    let host = if let Some((user, host)) = authority.split_once_str("@") {
        add_escaped(&mut out, user)?;
        out.push(b'@');
        host
    } else {
        authority
    };
    if !is_host_and_port(host, scheme.eq_ignore_ascii_case(b"file")) {
        return None;
    }
    out.extend_from_slice(host);
    let rest = add_path(&mut out, rest)?;
    add_escaped(&mut out, rest)?;
    Some(out)
}

fn end_of_part(url: &[u8]) -> usize {
    url.find_byteset(b"/?#").unwrap_or(url.len())
}

fn is_host_and_port(text: &[u8], may_lack: bool) -> bool {
    let lacks = matches!(text.first(), None | Some(b':'));
    if lacks && !may_lack {
        return false;
    }
    // Colons within brackets belong to an IPv6 address.
    let colon = text.rfind_byteset(b":]").filter(|at| text[*at] == b':');
    let (host, port) = colon.map_or((text, &b""[..]), |at| (&text[..at], &text[at + 1..]));
    if lacks && !port.is_empty() {
        return false;
    }
    host.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-_[:]".contains(byte)) && is_port(port)
}

fn is_port(text: &[u8]) -> bool {
    let digits = text.trim_start_with(|letter| letter == '0');
    let number = std::str::from_utf8(digits).ok().filter(|_| digits.iter().all(u8::is_ascii_digit));
    text.is_empty() || number.and_then(|number| number.parse::<u16>().ok()).is_some_and(|port| port > 0)
}

/// Appends the path at the start of `rest`, and returns the remainder.
fn add_path<'a>(out: &mut Vec<u8>, rest: &'a [u8]) -> Option<&'a [u8]> {
    let root = out.len();
    out.push(b'/');
    let mut rest = rest.strip_prefix(b"/").unwrap_or(rest);
    loop {
        let (part, remainder) = rest.split_at(end_of_part(rest));
        let start = out.len();
        add_escaped(out, part)?;
        let keep = match &out[start..] {
            b"." => start - 1,
            // Nothing is above the root.
            b".." if start - 1 == root => return None,
            b".." => out[..start - 1].rfind_byte(b'/')?,
            _ => out.len(),
        };
        // The leading slash of the path stays.
        out.truncate(keep.max(root + 1));
        let Some(next) = remainder.strip_prefix(b"/") else { return Some(remainder) };
        rest = next;
        if keep > root {
            out.push(b'/');
        }
    }
}

/// Appends `text` with only the necessary escapes; `None` for an invalid escape.
fn add_escaped(out: &mut Vec<u8>, text: &[u8]) -> Option<()> {
    let mut rest = text;
    while let Some((&first, remainder)) = rest.split_first() {
        rest = remainder;
        let mut byte = first;
        if first == b'%' {
            let (digits, remainder) = rest.split_at_checked(2)?;
            byte = hex(digits[0])? << 4 | hex(digits[1])?;
            rest = remainder;
        }
        let stays = first == b'%' && RESERVED.contains(&byte);
        if stays || !matches!(byte, 0x20..0x7f) || UNSAFE.contains(&byte) {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.push(byte);
        }
    }
    Some(())
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_normalized() {
        for (url, expected) in [
            ("http://h", "http://h/"),
            ("HTTPS://u:p%40@h:080/a/./b/../c", "https://u:p%40@h:080/a/c"),
            ("ftp://h/a%2fb/%7e %41", "ftp://h/a%2Fb/~%20A"),
            ("http://h/./../a", ""),
            ("http://h/a/b/../../", "http://h/"),
            ("http://h/a/../..", ""),
            ("http://h/a//../b", "http://h/a/b"),
            ("http://h/%2e%2E", ""),
            ("http://h/.", "http://h/"),
            ("http://h?a/../%0a", "http://h/?a/../%0A"),
            ("http://h/\n/..", "http://h/"),
            ("http://[::1]:80", "http://[::1]:80/"),
            ("http://[::1]", "http://[::1]/"),
            ("file:///a", "file:///a"),
            ("file://:/a", "file://:/a"),
            ("file://:1/a", ""),
            ("http://", ""),
            ("http:///a", ""),
            ("http://:80/", ""),
            ("http://u@/", ""),
            ("http://h:0/", ""),
            ("http://h:065535/", "http://h:065535/"),
            ("http://h:65536/", ""),
            ("http://h:/", "http://h:/"),
            ("http://h:+1/", ""),
            ("http://h h/", ""),
            ("http://h%41/", ""),
            ("http://h/%4", ""),
            ("1a://h/", ""),
            ("a_b://h/", ""),
            ("h", ""),
        ] {
            let normalized = normalized(url.as_bytes()).unwrap_or_default();
            assert_eq!(normalized.to_str_lossy(), expected, "{url:?}");
        }
    }

    #[test]
    fn unsafe_urls_are_detected() {
        for url in [
            "",
            "a",
            "/a",
            "./-a",
            "../a",
            "../../a:b",
            "..\\a",
            "./:a",
            "./%0x",
            "./%0a:b",
            "https://h/a%250a",
            "https://h/%0a/../b",
            "git://h/a",
            "ssh://-h/%0a",
            "http::https://h/a",
            "ext::sh -c x",
            "httpx://",
            "a@h:b",
            "https:h",
            "HTTP://",
            "a\nb",
        ] {
            assert!(is_safe(url.as_bytes()), "{url:?}");
        }
        for url in [
            "-a",
            "./a%0a",
            "..\\%0A",
            "./a\nb",
            "../:a",
            ".././/a",
            "..\\../:a",
            "git://h/%0a",
            "https://h/%0a",
            "https://h?%0a",
            "https://h/\n",
            "http:::a",
            "https::h/a",
            "http::ftp:///a",
            "http://h:x",
            "https://",
        ] {
            assert!(!is_safe(url.as_bytes()), "{url:?}");
        }
    }
}
