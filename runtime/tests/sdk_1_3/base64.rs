use super::{call, fails};

#[test]
fn encodes_text_and_bytes() {
    assert_eq!(
        call("[base64::encode(\"ü?>\"), base64::encode_url(\"ü?>\")]").text(),
        r#"["w7w/Pg==","w7w_Pg"]"#
    );
    assert_eq!(call("base64::encode(blob(3, 255))").text(), "\"////\"");
    assert_eq!(call("base64::encode(\"\")").text(), "\"\"");
}

#[test]
fn decodes_both_alphabets_with_and_without_padding() {
    let source = |text: &str| {
        format!("let b = base64::decode(\"{text}\"); if b == () {{ () }} else {{ b.as_string() }}")
    };
    for text in ["w7w/Pg==", "w7w/Pg", "w7w_Pg", "w7w_Pg=="] {
        assert_eq!(call(&source(text)).text(), "\"ü?>\"", "{text}");
    }
    for text in ["a", "a b=", "w7w/_g==", "=", "äöü"] {
        assert_eq!(call(&source(text)).text(), "null", "{text}");
    }
}

#[test]
fn text_beyond_the_maximum_is_refused() {
    let source = "let b = blob(25 * 1024 * 1024); base64::encode(b)";
    let failure = call(source).limits(|limits| limits.memory = 256 << 20).failure();
    assert_eq!(failure.message, "a string would be longer than 32 MiB");
    assert!(fails("let n = 1; base64::decode(n)").ends_with("`text` must be a string, not an integer"));
}
