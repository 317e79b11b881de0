//! The sandbox's own endpoints, for those who rehearse with it over HTTP.

use serde_json::{Value, json};

use crate::fault::Fault;
use crate::server::{ApiResponse, Head};
use crate::world::World;

pub(crate) fn answer(head: &Head, body: &Value, world: &mut World) -> ApiResponse {
    match (head.method.as_str(), head.path.as_str()) {
        ("GET", "/sandbox/published") => ApiResponse::json(200, &json!(world.published)),
        ("GET", "/sandbox/requests") => ApiResponse::json(200, &json!(world.requests)),
        ("GET", "/sandbox/violations") => ApiResponse::json(200, &json!(world.violations)),
        ("GET", "/sandbox/knobs") => ApiResponse::json(200, &json!(world.knobs)),
        ("POST", "/sandbox/knobs") => {
            // What is not said stays as it is.
            let mut knobs = json!(world.knobs);
            if let (Some(known), Some(said)) = (knobs.as_object_mut(), body.as_object()) {
                known.extend(said.clone());
            }
            match serde_json::from_value(knobs) {
                Ok(knobs) => {
                    world.knobs = knobs;
                    ApiResponse::json(200, &json!(world.knobs))
                }
                Err(error) => ApiResponse::json(400, &json!({ "error": error.to_string() })),
            }
        }
        ("POST", "/sandbox/faults") => match serde_json::from_value::<Fault>(body.clone()) {
            Ok(fault) => {
                world.faults.push(fault);
                ApiResponse::json(200, &json!(world.faults))
            }
            Err(error) => ApiResponse::json(400, &json!({ "error": error.to_string() })),
        },
        ("POST", "/sandbox/reset") => {
            world.reset();
            ApiResponse::json(200, &json!({}))
        }
        _ => ApiResponse::json(404, &json!({ "error": "no such control" })),
    }
}
