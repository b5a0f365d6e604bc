//! What a JSON Schema may ask for when a reply is held to it.
//!
//! The grammar engine refuses keywords of the schema's own draft that it can't hold, but ignores those of other drafts, and
//! takes orders (`x-guidance`) from the schema that turn its refusals off. A reply that isn't what was asked for is worse
//! than none, so whatever constrains in any draft and can't be held is refused here, by its name and place.

use serde_json::{Value, json};

use crate::EngineError;

/// Keywords that constrain, in some draft, and can't be held while tokens are chosen.
const UNSUPPORTED: [&str; 18] = [
    "$dynamicRef",
    "$recursiveRef",
    "contains",
    "dependencies",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "extends",
    "if",
    "maxContains",
    "minContains",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
    "uniqueItems",
    "x-guidance",
];
/// Schemas in schemas: nested deeper than any that a person writes, and the stack would be next.
const DEEPEST: usize = 64;

/// White space between the parts of JSON: none, a blank, or a new line that is indented. JSON allows any amount, and a weak
/// model that has begun with new lines doesn't stop.
const SPACE: &str = r" ?|\n {0,16}";

/// The schema for the grammar engine, with a bound on white space.
///
/// # Errors
/// [`EngineError::Constraint`] for what is no JSON, or can't be held: with the reason.
pub(crate) fn held(schema: &str) -> Result<Value, EngineError> {
    let schema = serde_json::from_str(schema);
    let mut schema = schema.map_err(|e| EngineError::Constraint(format!("the schema is not JSON: {e}")))?;
    check(&schema).map_err(EngineError::Constraint)?;
    if let Value::Object(object) = &mut schema {
        object.insert("x-guidance".into(), json!({ "whitespace_flexible": true, "whitespace_pattern": SPACE }));
    }
    Ok(schema)
}

fn check(schema: &Value) -> Result<(), String> {
    walk(schema, &mut Vec::new())
}

fn walk<'s>(schema: &'s Value, place: &mut Vec<&'s str>) -> Result<(), String> {
    let Some(keywords) = schema.as_object() else { return Ok(()) };
    if place.len() > DEEPEST {
        return Err(format!("the schema is nested deeper than {DEEPEST}"));
    }
    for (keyword, value) in keywords {
        if UNSUPPORTED.contains(&keyword.as_str()) {
            return Err(format!("the keyword {keyword:?} at #/{} is not supported", place.join("/")));
        }
        place.push(keyword);
        match keyword.as_str() {
            // Names, and a schema for each.
            "properties" | "patternProperties" | "$defs" | "definitions" => {
                for (name, inner) in value.as_object().into_iter().flatten() {
                    place.push(name);
                    walk(inner, place)?;
                    place.pop();
                }
            }
            "allOf" | "anyOf" | "oneOf" | "prefixItems" | "items" | "additionalItems" | "additionalProperties" => {
                let several = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                several.iter().try_for_each(|inner| walk(inner, place))?;
            }
            // Values, numbers and remarks.
            _ => {}
        }
        place.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn what_constrains_and_cannot_be_held_is_refused_by_name_and_place() {
        for keyword in UNSUPPORTED {
            let schema = json!({ "type": "object", "properties": { "a": { "items": { keyword: {} } } } });
            let why = check(&schema).unwrap_err();
            assert!(why.contains(&format!("{keyword:?} at #/properties/a/items ")), "{why}");
            let schema = json!({ "$defs": { "x": { "anyOf": [true, { keyword: {} }] } } });
            assert!(check(&schema).unwrap_err().contains(keyword));
        }
    }

    #[test]
    fn names_and_values_that_look_like_keywords_are_none() {
        let schema = json!({
            "properties": { "not": { "const": { "if": 1 } }, "contains": { "enum": [{ "not": 2 }] } },
            "default": { "uniqueItems": true },
            "required": ["not"],
        });
        check(&schema).unwrap();
    }

    #[test]
    fn a_schema_without_end_is_refused() {
        let deep = (0..200).fold(json!(true), |inner, _| json!({ "items": inner }));
        assert!(check(&deep).unwrap_err().contains("deeper"));
    }
}
