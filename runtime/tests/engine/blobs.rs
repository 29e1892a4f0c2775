//! The bytes of a blob as integers.

use manifest_schema::sdk::SdkVersion;

use super::support::{Call, script};

#[test]
fn bytes_of_a_blob_are_integers() {
    let (all, since_1_3) = (SdkVersion::ALL.to_vec(), vec![SdkVersion::V1_3]);
    let blob = "let b = \"abc\".to_blob();";
    for (source, json, versions) in [
        ("b[0] + 1", "98", &all),
        ("b.get(0) == 97", "true", &all),
        ("[b[0], b[-1], b.get(1), b.len()]", "[97,99,98,3]", &all),
        ("[b.pop(), b.shift(), b.remove(0)]", "[99,97,98]", &all),
        ("[b.contains(97), 98 in b, b.contains(7)]", "[true,true,false]", &all),
        ("b += 100; b.push(101); b[0] = 65; b.insert(1, 66); b.to_array()", "[65,66,98,99,100,101]", &all),
        ("b.to_array().map(|x| x + 1)", "[98,99,100]", &all),
        ("b.to_array() == [97, 98, 99]", "true", &all),
        ("b.extract(1, 2) == \"bc\".to_blob()", "true", &all),
        ("type_of(b[0])", "\"i64\"", &all),
        ("let sum = 0; for x in b { sum += x; } sum", "294", &since_1_3),
        ("let all = []; for (x, i) in b { all.push(x * 2 + i); } all", "[194,197,200]", &since_1_3),
        ("let found = false; for x in b { if x == 98 { found = true; } } found", "true", &since_1_3),
        ("let all = []; for x in b { all.push(x); } all", "[97,98,99]", &since_1_3),
        ("for x in b { return #{ x: x }.to_json(); }", "\"{\\\"x\\\":97}\"", &since_1_3),
        ("for x in b { return type_of(x); }", "\"i64\"", &since_1_3),
        ("for x in b { return switch x { 97 => \"a\", _ => \"other\" }; }", "\"a\"", &since_1_3),
        ("for x in b { return [97, 98].contains(x); }", "true", &since_1_3),
        ("for x in b { return `${x}` + x.to_hex(); }", "\"9761\"", &since_1_3),
        ("let other = blob(); for x in b { other.push(x); } other == b", "true", &since_1_3),
        // Older scripts can distinguish them.
        (
            "for x in b { return [type_of(x), x == 97]; }",
            "[\"u8\",false]",
            &vec![SdkVersion::V1_0, SdkVersion::V1_2],
        ),
    ] {
        for sdk in versions.iter().copied() {
            let source = format!("{blob} {source}");
            assert_eq!(Call { sdk, ..script(&source) }.text(), json, "{sdk:?} {source}");
        }
    }
}
