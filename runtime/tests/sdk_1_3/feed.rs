use super::call;

/// The result of `feed::parse`.
fn parsed(text: &str) -> String {
    call("feed::parse(ctx.request.bytes.as_string())").body("text/plain", text.to_owned()).text()
}

fn refused(text: &str) -> String {
    call("feed::parse(ctx.request.bytes.as_string())").body("text/plain", text.to_owned()).failure().message
}

#[test]
fn rss_is_parsed() {
    let feed =
        "<?xml version=\"1.0\"?><!DOCTYPE rss><rss version=\"2.0\"><channel><title>News &amp; more</title>
        <item><guid>1</guid><title><![CDATA[<One>]]></title><link>https://example.org/1</link>
        <pubDate>Fri, 02 Jan 2026 03:04:05 GMT</pubDate><description>short</description>
        <content:encoded>&lt;p&gt;long&lt;/p&gt;</content:encoded></item></channel></rss>";
    assert_eq!(
        parsed(feed),
        r#"{"items":[{"id":"1","link":"https://example.org/1","published":1767323045000,"text":"<p>long</p>","title":"<One>"}],"title":"News & more"}"#
    );
}

#[test]
fn atom_and_rss_1_are_parsed() {
    let atom = "<feed xmlns=\"http://www.w3.org/2005/Atom\"><title>A</title><entry><id>urn:1</id><title>T</title>
        <link href=\"https://example.org/1\"/><updated>2026-01-02T03:04:05Z</updated><summary>s</summary></entry></feed>";
    assert_eq!(
        parsed(atom),
        r#"{"items":[{"id":"urn:1","link":"https://example.org/1","published":1767323045000,"text":"s","title":"T"}],"title":"A"}"#
    );
    let rdf = "<rdf:RDF xmlns:rdf=\"r\"><channel><title>R</title></channel><item><title>T</title><link>https://a.b/</link><dc:date>2026-01-02</dc:date></item></rdf:RDF>";
    assert_eq!(
        parsed(rdf),
        r#"{"items":[{"id":"https://a.b/","link":"https://a.b/","published":1767312000000,"text":null,"title":"T"}],"title":"R"}"#
    );
}

#[test]
fn what_is_no_feed_is_refused() {
    for (text, message) in [
        ("<html></html>", "not a feed: expected <rss>, <feed> or <rdf:RDF>, found <html>"),
        ("", "not a feed: expected <rss>, <feed> or <rdf:RDF>, found no element"),
        (
            "<!DOCTYPE rss [<!ENTITY a \"b\">]><rss></rss>",
            "the document defines entities, which are not accepted",
        ),
    ] {
        assert_eq!(refused(text), format!("feed::parse: {message}"), "{text}");
    }
    assert!(refused("<rss>\n<channel></rss>").starts_with("feed::parse: invalid XML in line 2: "));
    assert!(refused("<rss><channel>").starts_with("feed::parse: invalid XML in line 1: "));
}
