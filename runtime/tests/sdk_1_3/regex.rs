use super::{call, fails};

#[test]
fn first_match_is_found() {
    assert_eq!(
        call(r#"[regex::test("^a+$", "aaa"), regex::test("b", "aaa"), regex::find("[0-9]+", "a 12 b 345"), regex::find("x", "")]"#).text(),
        r#"[true,false,"12",null]"#
    );
    // The first alternative that matches, not the longest.
    assert_eq!(
        call(r#"[regex::find("a|ab", "xab"), regex::find("a+?", "aaa"), regex::find("", "é")]"#).text(),
        r#"["a","a",""]"#
    );
    assert_eq!(call(r#"[regex::find("(?i)ÄB", "xäb"), regex::find("(?s)a.b", "a\nb"), regex::find(r"\p{Greek}+", "aβγ")]"#.replace("r\"", "\"\\").as_str()).text(), r#"["äb","a\nb","βγ"]"#);
}

#[test]
fn all_matches_are_found() {
    for (pattern, text, found) in [
        ("[0-9]+", "1 22 333", r#"["1","22","333"]"#),
        ("a*", "aab", r#"["aa",""]"#),
        ("", "aé", r#"["","",""]"#),
        (r"\\b", "é a", r#"["","","",""]"#),
        (r"\\b\\w+\\b", "größe und ähre", r#"["größe","und","ähre"]"#),
        (r"\\B", "é", r#"[]"#),
        ("(?m)^.*$", "a\\n\\nb", r#"["a","","b"]"#),
        (r"\\w{1,50}", "é é", r#"["é","é"]"#),
        ("$", "ab", r#"[""]"#),
        ("b", "a", "[]"),
    ] {
        let source = format!("regex::find_all(\"{pattern}\", \"{text}\")");
        assert_eq!(call(&source).text(), found, "{source}");
    }
}

#[test]
fn groups_are_by_number_and_by_name() {
    assert_eq!(
        call(r#"regex::groups("(?P<year>[0-9]{4})-([0-9]+)(x)?", "on 2026-11.")"#).text(),
        r#"{"0":"2026-11","1":"2026","2":"11","3":null,"year":"2026"}"#
    );
    assert_eq!(
        call(r#"[regex::groups("(a)", "b"), regex::groups("((a|ab)(c|bcd)(d*))", "abcd")["3"]]"#).text(),
        r#"[null,"bcd"]"#
    );
}

#[test]
fn matches_are_replaced() {
    for (pattern, text, with, replaced) in [
        ("[0-9]", "a1b2", "#", "a#b#"),
        ("(?P<first>[a-z]+) ([a-z]+)", "ab cd", "$2 ${first}", "cd ab"),
        ("a", "a", "$$1", "$1"),
        ("a", "a", "5 $", "5 $"),
        ("(a)|b", "ab", "[$1]", "[a][]"),
        ("a", "aa", "${0}${0}", "aaaa"),
        ("", "ab", "-", "-a-b-"),
        ("é", "é", "$0é", "éé"),
    ] {
        let source = format!("regex::replace(\"{pattern}\", \"{text}\", \"{with}\")");
        assert_eq!(call(&source).text(), format!("\"{replaced}\""), "{source}");
    }
    assert_eq!(
        fails(r#"let w = "${x}"; regex::replace("a", "a", w)"#),
        "regex::replace: the pattern has no group `x`; write `$$` for a `$`"
    );
}

#[test]
fn text_is_split() {
    assert_eq!(
        call(r#"[regex::split(", *", "a,b,  c"), regex::split(",", ""), regex::split(",", ",a,")]"#).text(),
        r#"[["a","b","c"],[""],["","a",""]]"#
    );
}

#[test]
fn invalid_patterns_are_named() {
    for (pattern, message) in [
        ("é(a", "regex::test: invalid pattern at character 2: unclosed group"),
        ("a|*", "regex::test: invalid pattern at character 3: repetition operator missing expression"),
        (
            "[b-a]",
            "regex::test: invalid pattern at character 2: invalid character class range, the start must be <= the end",
        ),
        (r"\\p{Nope}", "regex::test: invalid pattern at character 1: Unicode property not found"),
        (
            "(?=a)",
            "regex::test: invalid pattern at character 1: look-around, including look-ahead and look-behind, is not supported",
        ),
        (r"(a)\\1", "regex::test: invalid pattern at character 4: backreferences are not supported"),
        (r"\\w{9}{99}{99}", "regex::test: the pattern is too large: it has too many repetitions or classes"),
    ] {
        assert_eq!(fails(&format!("let p = \"{pattern}\"; regex::test(p, \"\")")), message, "{pattern}");
    }
    assert_eq!(
        fails("let p = \"a\".repeat(9000); regex::test(p, \"\")"),
        "regex::test: the pattern is longer than 8192 bytes"
    );
    assert_eq!(
        fails("let p = \"()\".repeat(2000); regex::test(p, \"\")"),
        "regex::test: the pattern has too many groups; write `(?:...)` for those that are not read"
    );
}
