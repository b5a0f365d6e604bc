//! Replies held to random JSON Schemas, by the real model, many in one batch; an independent validator has the last word.
//!
//! `FLEET_SCHEMAS=N` asks for so many instead of 20, from seed `FLEET_SCHEMAS_SEED=S` on; `FLEET_SCHEMAS_MODEL=NAME` asks
//! another model of the catalogue.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stderr)]

use std::sync::Arc;

use bytesize::ByteSize;
use fleet_inference::models::ModelStore;
use fleet_inference::{
    CandleEngine, CandleOptions, ChatMessage, Constraint, Engine, EngineDevice, EngineError, Finish, Request, Sampling,
    TokenEvent,
};
use futures::StreamExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

const SCHEMAS: u64 = 20;
const MOST_TOKENS: u32 = 220;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|n| n.parse().unwrap())
}

fn engine() -> Arc<CandleEngine> {
    let model = std::env::var("FLEET_SCHEMAS_MODEL").unwrap_or_else(|_| "smollm2-135m-instruct".into());
    let path = ModelStore::of_user().unwrap().path(&model).unwrap_or_else(|e| panic!("run `make setup`: {e}"));
    let options = CandleOptions {
        device: EngineDevice::Cpu,
        context: 1024,
        queue: 1000,
        kv_memory: Some(ByteSize::mib(512)),
        ..CandleOptions::default()
    };
    Arc::new(CandleEngine::open(path, options).unwrap())
}

async fn ask(engine: &CandleEngine, schema: &Value, seed: u64) -> Result<(String, Finish), EngineError> {
    let request = Request {
        constraint: Constraint::JsonSchema(schema.to_string()),
        sampling: Sampling { temperature: 0.8, seed, ..Sampling::default() },
        ..Request::new(vec![ChatMessage::user("Answer with an example, as compact JSON.")], MOST_TOKENS)
    };
    let (mut stream, mut said) = (engine.submit(request)?, String::new());
    while let Some(event) = stream.next().await {
        match event {
            TokenEvent::Text { text, .. } => said.push_str(&text),
            TokenEvent::Done(usage) => return Ok((said, usage.finish)),
            TokenEvent::Failed(error) => return Err(error),
        }
    }
    Err(EngineError::Gone)
}

#[tokio::test]
async fn every_finished_reply_is_valid() {
    let engine = engine();
    let (from, count) = (number("FLEET_SCHEMAS_SEED").unwrap_or(1), number("FLEET_SCHEMAS").unwrap_or(SCHEMAS));
    let schemas: Vec<(u64, Value)> = (from..from + count).map(|seed| (seed, schema(seed))).collect();
    let asked = schemas.iter().map(|(seed, schema)| ask(&engine, schema, *seed));
    let replies = futures::future::join_all(asked).await;
    let (mut finished, mut wrong) = (0, Vec::new());
    for ((seed, schema), reply) in schemas.iter().zip(replies) {
        let validator = jsonschema::options().should_validate_formats(true).build(schema).unwrap();
        let because = match reply {
            Ok((_, Finish::Length)) => continue,
            Ok((text, Finish::Stop)) => {
                finished += 1;
                match serde_json::from_str::<Value>(&text) {
                    Ok(value) => match validator.validate(&value) {
                        Ok(()) => continue,
                        Err(error) => format!("{error} in {text}"),
                    },
                    Err(error) => format!("{error} in {text}"),
                }
            }
            other => format!("{other:?}"),
        };
        wrong.push(format!("seed {seed}: {because}\n  {schema}"));
    }
    eprintln!("{finished} of {count} replies were finished; all others ran out of tokens");
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(finished * 4 >= count * 3, "only {finished} of {count} were finished");
}

#[tokio::test]
async fn a_keyword_that_cannot_be_held_is_refused_by_name() {
    let engine = engine();
    let refused = [
        (json!({ "not": { "type": "string" } }), "not"),
        (json!({ "type": "array", "uniqueItems": true }), "uniqueItems"),
        (json!({ "type": "array", "contains": { "const": 1 } }), "contains"),
        (json!({ "type": "object", "propertyNames": { "maxLength": 3 } }), "propertyNames"),
        (json!({ "type": "object", "dependencies": { "a": ["b"] } }), "dependencies"),
        (json!({ "type": "object", "properties": { "a": { "if": true } } }), "if"),
        (json!({ "x-guidance": { "lenient": true }, "not": {} }), "x-guidance"),
        (json!({ "type": "string", "format": "of my own" }), "of my own"),
        (json!({ "oneOf": [{ "type": "integer" }, { "minimum": 3 }] }), "oneOf"),
        (json!({ "$ref": "#/$defs/nowhere" }), "nowhere"),
        (json!({ "type": "thing" }), "thing"),
        (json!([1, 2]), "schema"),
    ];
    for (schema, named) in refused {
        match ask(&engine, &schema, 0).await {
            Err(EngineError::Constraint(why)) => assert!(why.contains(named), "{schema}: {why}"),
            other => panic!("{schema}: {other:?}"),
        }
    }
}

/// A schema that a short text can satisfy. `$defs` are there to be referred to.
fn schema(seed: u64) -> Value {
    let mut random = Random(ChaCha8Rng::seed_from_u64(seed));
    let defs = json!({ "point": random.object(2), "word": random.text(), "count": random.integer() });
    let mut schema = match random.below(4) {
        0 => random.any(0),
        1 => random.array(0),
        _ => random.object(0),
    };
    schema["$defs"] = defs;
    schema
}

struct Random(ChaCha8Rng);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n.max(1) as u64) as usize
    }

    fn maybe(&mut self) -> bool {
        self.below(2) == 0
    }

    fn any(&mut self, depth: usize) -> Value {
        let leaf = depth >= 3;
        match self.below(if leaf { 6 } else { 11 }) {
            0 => self.text(),
            1 => self.integer(),
            2 => self.fraction(),
            3 => json!({ "type": "boolean" }),
            4 => self.choice(),
            5 => json!({ "$ref": format!("#/$defs/{}", ["point", "word", "count"][1 + self.below(2)]) }),
            6 => json!({ "$ref": "#/$defs/point" }),
            7 | 8 => self.object(depth),
            9 => self.array(depth),
            _ => {
                let of: Vec<Value> = (0..2 + self.below(2)).map(|_| self.any(depth + 1)).collect();
                json!({ "anyOf": of })
            }
        }
    }

    fn object(&mut self, depth: usize) -> Value {
        let names = ["name", "size", "kind", "tags", "at", "not", "owner \"x\"", "größe"];
        let first = self.below(names.len());
        let (mut properties, mut required) = (Map::new(), Vec::new());
        for n in 0..1 + self.below(4) {
            let name = names[(first + n) % names.len()];
            properties.insert(name.to_owned(), self.any(depth + 1));
            if self.below(3) > 0 {
                required.push(name);
            }
        }
        let mut object = json!({ "type": "object", "properties": properties, "required": required });
        match self.below(6) {
            0 => object["additionalProperties"] = self.integer(),
            1 => {
                object["patternProperties"] = json!({ "^x_[a-z]$": self.text() });
                object["additionalProperties"] = json!(false);
            }
            2 => object = json!({ "allOf": [object, { "type": "object", "required": [names[first]] }] }),
            _ => object["additionalProperties"] = json!(false),
        }
        object
    }

    fn array(&mut self, depth: usize) -> Value {
        let least = self.below(3);
        let mut array = json!({ "type": "array", "items": self.any(depth + 1), "minItems": least, "maxItems": least + self.below(3) });
        if self.below(4) == 0 {
            array["prefixItems"] = json!([self.text(), self.integer()]);
        }
        array
    }

    fn text(&mut self) -> Value {
        let least = self.below(5);
        match self.below(6) {
            0 => json!({ "type": "string", "pattern": "^[a-z]{2,8}$" }),
            1 => json!({ "type": "string", "pattern": "^(v[0-9]+\\.[0-9]{1,2}|latest)$", "maxLength": 8 }),
            2 => {
                let format = ["date", "ipv4", "uuid", "time"][self.below(4)];
                json!({ "type": "string", "format": format })
            }
            3 => json!({ "type": "string", "pattern": "[0-9]\\s", "maxLength": 12 }),
            _ => json!({ "type": "string", "minLength": least, "maxLength": least + self.below(12) }),
        }
    }

    fn integer(&mut self) -> Value {
        let least = self.below(400) as i64 - 200;
        let most = least + 12 + self.below(1000) as i64;
        let mut integer = json!({ "type": "integer", "minimum": least, "maximum": most });
        match self.below(4) {
            0 => integer = json!({ "type": "integer", "exclusiveMinimum": least, "exclusiveMaximum": most }),
            1 => integer["multipleOf"] = Value::from([2, 3, 5, 12][self.below(4)]),
            _ => {}
        }
        integer
    }

    fn fraction(&mut self) -> Value {
        let least = self.below(200) as f64 / 8.0 - 10.0;
        let bound = if self.maybe() { ["minimum", "maximum"] } else { ["exclusiveMinimum", "exclusiveMaximum"] };
        json!({ "type": "number", bound[0]: least, bound[1]: least + 0.125 + self.below(40) as f64 })
    }

    fn choice(&mut self) -> Value {
        let values =
            [json!("red"), json!("a \"b\"\n"), json!(7), json!(-1.5), json!(null), json!({ "a": [1] }), json!("日本")];
        let first = self.below(values.len());
        match self.maybe() {
            true => json!({ "const": values[first] }),
            false => json!({ "enum": [values[first], values[(first + 2) % values.len()]] }),
        }
    }
}
