//! Schemas held against values: the published suite, where it is there.

use std::path::Path;

use super::compile::compile;
use super::run::{Verdict, check};
use super::value::{Bounds, Value};

const WIDE: Bounds = Bounds {
    values: 200_000,
    depth: 128,
};

fn verdict(schema: &str, value: &str) -> Result<Verdict, String> {
    let schema = compile(schema.as_bytes())?;
    let value = Value::read(value.as_bytes(), WIDE).map_err(|error| format!("{error:?}"))?;
    Ok(check(&schema, &value))
}

#[test]
fn suite() {
    for dialect in ["draft2020-12", "draft7", "draft2019-09", "draft6"] {
        let dir = Path::new("/tmp/suite/tests").join(dialect);
        let (mut right, mut wrong, mut unread) = (0, 0, 0);
        let mut files: Vec<_> = std::fs::read_dir(&dir)
            .unwrap()
            .flatten()
            .map(|f| f.path())
            .filter(|p| p.extension().is_some_and(|e| e == "json"))
            .collect();
        for extra in [
            "optional/ecmascript-regex.json",
            "optional/bignum.json",
            "optional/float-overflow.json",
            "optional/non-bmp-regex.json",
            "optional/id.json",
            "optional/anchor.json",
            "optional/no-schema.json",
            "optional/unknownKeyword.json",
            "optional/refOfUnknownKeyword.json",
            "optional/dynamicRef.json",
        ] {
            if dir.join(extra).exists() {
                files.push(dir.join(extra));
            }
        }
        files.sort();
        for file in files {
            let groups: Vec<serde_json::Value> =
                serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
            for group in groups {
                let mut schema = group["schema"].clone();
                if dialect == "draft7" || dialect == "draft6" || dialect == "draft2019-09" {
                    if let Some(o) = schema.as_object_mut() {
                        o.entry("$schema").or_insert(
                            match dialect {
                                "draft7" => "http://json-schema.org/draft-07/schema#",
                                "draft6" => "http://json-schema.org/draft-06/schema#",
                                _ => "https://json-schema.org/draft/2019-09/schema",
                            }
                            .into(),
                        );
                    }
                }
                for case in group["tests"].as_array().unwrap() {
                    let name = format!(
                        "{}: {}: {}",
                        file.file_name().unwrap().display(),
                        group["description"],
                        case["description"]
                    );
                    match verdict(&schema.to_string(), &case["data"].to_string()) {
                        Err(why) => {
                            unread += 1;
                            eprintln!("UNREAD {name}: {why}");
                        }
                        Ok(v) => {
                            if (v == Verdict::Fits) == case["valid"].as_bool().unwrap() {
                                right += 1
                            } else {
                                wrong += 1;
                                eprintln!("WRONG {name}: {v:?}");
                            }
                        }
                    }
                }
            }
        }
        eprintln!("SUM {dialect} right {right} wrong {wrong} unread {unread}");
    }
}
