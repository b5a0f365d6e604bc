//! The smallest instance of a JSON Schema, for the part of JSON Schema that tool calls and reports use:
//! `type`, `enum`, `const`, `properties` with `required`, `items` with `minItems`, `minLength`, `minimum`,
//! `exclusiveMinimum`, `anyOf`/`oneOf`, `allOf` (its first), and `$ref` into `$defs` or `definitions`.

use serde_json::{Map, Value, json};

/// Schemas refer to themselves; an instance must end.
const MAX_DEPTH: usize = 16;

/// The instance as text; `null` for what is no schema.
pub(super) fn smallest_instance(schema: &str) -> String {
    match serde_json::from_str::<Value>(schema) {
        Ok(root) => instance(&root, &root, MAX_DEPTH).to_string(),
        Err(_) => "null".into(),
    }
}

fn instance(root: &Value, schema: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    let go_on = |s: &Value| instance(root, s, depth - 1);
    let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|a| a.first());
    if let Some(value) = schema.get("const").or_else(|| first("enum")) {
        return value.clone();
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return target.strip_prefix('#').and_then(|p| root.pointer(p)).map_or(Value::Null, go_on);
    }
    if let Some(chosen) = first("anyOf").or_else(|| first("oneOf")).or_else(|| first("allOf")) {
        return go_on(chosen);
    }
    let count = |key: &str| schema.get(key).and_then(Value::as_u64).unwrap_or(0) as usize;
    match kind(schema) {
        "object" => object(schema, &go_on),
        "array" => {
            let item = schema.get("items").map_or(Value::Null, go_on);
            Value::Array(vec![item; count("minItems")])
        }
        "string" => Value::String("x".repeat(count("minLength"))),
        "integer" | "number" => lowest(schema),
        "boolean" => Value::Bool(false),
        _ => Value::Null,
    }
}

fn kind(schema: &Value) -> &str {
    let declared = schema.get("type");
    let declared = declared.and_then(|t| t.as_str().or_else(|| t.get(0)?.as_str()));
    declared.unwrap_or_else(|| if schema.get("properties").is_some() { "object" } else { "null" })
}

fn object(schema: &Value, go_on: &dyn Fn(&Value) -> Value) -> Value {
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    let mut fields = Map::new();
    for name in required.filter_map(Value::as_str) {
        let property = schema.get("properties").and_then(|p| p.get(name));
        fields.insert(name.to_owned(), property.map_or(Value::Null, go_on));
    }
    Value::Object(fields)
}

fn lowest(schema: &Value) -> Value {
    let least = |key: &str| schema.get(key).and_then(Value::as_i64);
    let least = least("minimum").or_else(|| Some(least("exclusiveMinimum")? + 1));
    let most = schema.get("maximum").and_then(Value::as_i64);
    json!(least.unwrap_or_else(|| most.unwrap_or(0).min(0)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_instance_has_what_is_required_and_no_more() {
        let schema = r##"{
            "type": "object",
            "properties": {
                "tool": {"enum": ["read", "write"]},
                "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "minItems": 2},
                "why": {"type": "string", "minLength": 3},
                "score": {"type": "integer", "minimum": 1, "maximum": 5},
                "done": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
                "extra": {"type": "string"}
            },
            "required": ["tool", "lines", "why", "score", "done"],
            "$defs": {"line": {"type": "integer"}}
        }"##;
        let expected = r#"{"tool":"read","lines":[0,0],"why":"xxx","score":1,"done":false}"#;
        assert_eq!(smallest_instance(schema), expected);
    }

    #[test]
    fn a_schema_that_refers_to_itself_ends() {
        let schema = r##"{"type":"object","properties":{"next":{"$ref":"#"}},"required":["next"]}"##;
        assert!(smallest_instance(schema).len() < 200);
        assert_eq!(smallest_instance("not json"), "null");
    }
}
