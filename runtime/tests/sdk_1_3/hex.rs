use super::call;

#[test]
fn encodes_in_lower_case_and_decodes_any_case() {
    assert_eq!(call("hex::encode(\"Jé\")").text(), "\"4ac3a9\"");
    assert_eq!(call("hex::decode(\"4aC3a9\").as_string()").text(), "\"Jé\"");
    for text in ["4", "4g", "4a c3", "0x4a", "é"] {
        assert_eq!(call(&format!("hex::decode(\"{text}\")")).text(), "null", "{text}");
    }
}
