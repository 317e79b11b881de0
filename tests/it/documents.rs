//! Documents are other people's data: whatever a field holds, that one post is reported or handled, and the pass goes on.

use std::collections::BTreeSet;

use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{
    self, Binary, Bson, Decimal128, Document, JavaScriptCodeWithScope, RawDocumentBuf, Regex, Timestamp, doc,
};
use serde_json::{Value, json};

use crate::support::env::{Ran, TestEnv, assert_adds_up, failed_delivery, failed_post, hours_ago, now, video};

/// Puts a document in byte for byte, whatever a driver would make of it.
async fn insert(env: &TestEnv, raw: &RawDocumentBuf) {
    env.posts.clone_with_type::<RawDocumentBuf>().insert_one(raw).await.unwrap();
}

async fn bytes_of(env: &TestEnv, id: ObjectId) -> Vec<u8> {
    let posts = env.posts.clone_with_type::<RawDocumentBuf>();
    posts.find_one(doc! { "_id": id }).await.unwrap().unwrap().into_bytes()
}

/// A post whose fields are inserted without a look at them. Its id.
async fn post_raw(env: &TestEnv, fields: Document) -> String {
    let mut document = failed_post("tiktok", Document::new());
    document.extend(fields);
    insert(env, &RawDocumentBuf::try_from(&document).unwrap()).await;
    document.get_object_id("_id").unwrap().to_hex()
}

fn ids(rows: &Value) -> BTreeSet<String> {
    rows.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect()
}

/// The malformed posts of a list.
fn malformed_in(list: &Value) -> BTreeSet<String> {
    let is_malformed = |row: &&Value| row["error"].as_str().is_some_and(|error| error.starts_with("malformed field"));
    let rows: Vec<Value> = list["posts"].as_array().unwrap().iter().filter(is_malformed).cloned().collect();
    ids(&Value::from(rows))
}

async fn json_of(env: &TestEnv, arguments: &[&str]) -> Value {
    let arguments: Vec<&str> = arguments.iter().copied().chain(["--format", "json"]).collect();
    env.run(&arguments).await.expect(0).json()
}

fn date(millis: i64) -> Bson {
    Bson::DateTime(bson::DateTime::from_millis(millis))
}

fn decimal(text: &str) -> Bson {
    Bson::Decimal128(text.parse::<Decimal128>().unwrap())
}

/// A value of every type that a document can have, and the strange ones of each.
fn values() -> Vec<(&'static str, Bson)> {
    vec![
        ("double", Bson::Double(1.5)),
        ("NaN", Bson::Double(f64::NAN)),
        ("infinity", Bson::Double(f64::INFINITY)),
        ("negative infinity", Bson::Double(f64::NEG_INFINITY)),
        ("string", "x".into()),
        ("empty string", "".into()),
        ("NUL, bidi and ANSI", "a\0b\u{202E}\u{2066}\u{1b}[31m\u{1b}]0;title\u{7}\r\n".into()),
        ("combining marks", format!("e{}", "\u{301}".repeat(100_000)).into()),
        ("object", doc! {}.into()),
        ("$oid", doc! { "$oid": "x" }.into()),
        ("$date", doc! { "$date": "x" }.into()),
        ("$numberLong", doc! { "$numberLong": "x" }.into()),
        ("$code", doc! { "$code": 7, "$scope": 8 }.into()),
        ("$binary", doc! { "$binary": { "base64": "?", "subType": "zz" } }.into()),
        ("empty list", Bson::Array(Vec::new())),
        ("list", vec!["x"].into()),
        ("binary", Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255] })),
        ("ObjectId", Bson::ObjectId(ObjectId::new())),
        ("true", true.into()),
        ("false", false.into()),
        ("date", hours_ago(3)),
        ("first date", date(i64::MIN)),
        ("last date", date(i64::MAX)),
        ("null", Bson::Null),
        (
            "regular expression",
            Bson::RegularExpression(Regex {
                pattern: ".*".to_owned().try_into().unwrap(),
                options: "i".to_owned().try_into().unwrap(),
            }),
        ),
        ("code", Bson::JavaScriptCode("1".into())),
        (
            "code with scope",
            Bson::JavaScriptCodeWithScope(JavaScriptCodeWithScope { code: "1".into(), scope: doc! {} }),
        ),
        ("int", Bson::Int32(7)),
        ("negative int", Bson::Int32(-1)),
        ("symbol", Bson::Symbol("x".into())),
        ("long", Bson::Int64(i64::MAX)),
        ("timestamp", Bson::Timestamp(Timestamp { time: u32::MAX, increment: 1 })),
        ("decimal", decimal("1.5")),
        ("decimal NaN", decimal("NaN")),
        ("decimal infinity", decimal("Infinity")),
        ("least key", Bson::MinKey),
        ("greatest key", Bson::MaxKey),
        ("undefined", Bson::Undefined),
    ]
}

const FIELDS: [&str; 29] = [
    "title",
    "description",
    "caption",
    "hashtags",
    "platform",
    "platforms",
    "platformStatus",
    "sheetTriggeredAt",
    "postretry",
    "contentType",
    "videoPath",
    "imagePath",
    "isAiGenerated",
    "storyId",
    "storyName",
    "scheduledAt",
    "updatedAt",
    "error",
    "failedAt",
    "retryCount",
    "lastRetriedAt",
    "permanentlyFailed",
    "permanentlyFailedAt",
    "failureCategory",
    "retryNotBefore",
    "retryHistory",
    "retryClaim",
    "publishTicket",
    "uploadProgress",
];

/// Fields that decide which post a document is. Servers do not agree on whether `undefined` there is null.
const SHAPE: [&str; 4] = ["platform", "platforms", "platformStatus", "sheetTriggeredAt"];

#[tokio::test(flavor = "multi_thread")]
async fn every_type_in_every_field_is_reported_or_handled_and_all_commands_agree() {
    let env = TestEnv::new().await;
    env.file("a.mp4", &video(2_000, 1));
    let mut documents = Vec::new();
    for field in FIELDS {
        for (kind, value) in values() {
            if kind == "undefined" && SHAPE.contains(&field) {
                continue;
            }
            let mut document = failed_post("tiktok", doc! { "updatedAt": hours_ago(3) });
            document.insert(field, value);
            documents.push((document.get_object_id("_id").unwrap(), format!("{field}: {kind}"), document));
        }
    }
    let raw = documents.iter().map(|(.., document)| RawDocumentBuf::try_from(document).unwrap());
    env.posts.clone_with_type::<RawDocumentBuf>().insert_many(raw.collect::<Vec<_>>()).await.unwrap();
    let good = env.post("tiktok", doc! { "failedAt": hours_ago(500) }).await;
    let called = |id: &str| {
        let found = documents.iter().find(|(other, ..)| other.to_hex() == id);
        found.map_or_else(|| id.to_owned(), |(_, name, _)| name.clone())
    };
    let names = |ids: &BTreeSet<String>| ids.iter().map(|id| called(id)).collect::<BTreeSet<String>>();

    let plan = json_of(&env, &["run", "--dry-run"]).await;
    let reported = ids(&plan["malformed"]);
    let list = json_of(&env, &["list-failed", "--limit", "5000"]).await;
    assert_eq!(list["total"].as_u64(), Some(list["posts"].as_array().unwrap().len() as u64));
    // A pass reads what is due. This one waits for a date that is beyond all dates.
    let unread: BTreeSet<String> = malformed_in(&list).difference(&reported).cloned().collect();
    assert_eq!(names(&unread), BTreeSet::from(["retryNotBefore: last date".to_owned()]));
    assert_eq!(names(&reported.difference(&malformed_in(&list)).cloned().collect()), BTreeSet::new());

    let due = ids(&plan["posts"]);
    let stats = json_of(&env, &["stats"]).await;
    let listed = json_of(&env, &["list-failed", "--due", "--limit", "5000"]).await;
    assert_eq!(names(&ids(&listed["posts"])), names(&due));
    assert_eq!(listed["total"].as_u64(), Some(due.len() as u64));
    assert_eq!(stats["due"].as_u64(), Some(due.len() as u64), "{stats}");
    assert_eq!(stats["totalFailed"], list["total"], "{stats}");
    assert_eq!(stats["malformed"].as_u64(), Some(malformed_in(&list).len() as u64), "{stats}");
    assert_adds_up(&stats);
    env.run(&["stats", "--format", "prometheus"]).await.expect(0);
    env.run(&["list-failed", "--format", "csv", "--limit", "5000"]).await.expect(0);
    env.run(&["list-failed", "--limit", "5000"]).await.expect(0);
    env.run(&["reset", "--permanent", "--dry-run"]).await.expect(0);

    let ran = env.run(&["run", "--format", "json"]).await;
    assert!(matches!(ran.code, 0 | 3), "{ran:?}");
    assert_eq!(names(&ids(&ran.json()["malformed"])), names(&reported));
    assert_eq!(env.document(&good).await.get_str("status").ok(), Some("posted"));
    let malformed = malformed_in(&list);
    // The pass has made the indexes.
    let stats = json_of(&env, &["stats"]).await;
    assert_eq!(stats["malformed"].as_u64(), Some(malformed.len() as u64), "{stats}");
    assert_adds_up(&stats);
    for (id, name, document) in &documents {
        if malformed.contains(&id.to_hex()) {
            let before = RawDocumentBuf::try_from(document).unwrap().into_bytes();
            assert!(bytes_of(&env, *id).await == before, "{name}: changed");
        }
    }
}

/// What decides about a delivery, and the ids of published posts.
const FIELDS_OF_DELIVERY: [&str; 21] = [
    "status",
    "platform",
    "platforms",
    "platformStatus.tiktok",
    "platformStatus.tiktok.status",
    "platformStatus.tiktok.error",
    "platformStatus.tiktok.lastFailedAt",
    "platformStatus.tiktok.mediaId",
    "tiktokVideoId",
    "postretry",
    "postretry.tiktok",
    "postretry.tiktok.failedAt",
    "postretry.tiktok.retryCount",
    "postretry.tiktok.lastRetriedAt",
    "postretry.tiktok.permanentlyFailed",
    "postretry.tiktok.permanentlyFailedAt",
    "postretry.tiktok.failureCategory",
    "postretry.tiktok.retryNotBefore",
    "postretry.tiktok.retryHistory",
    "postretry.tiktok.retryClaim",
    "postretry.tiktok.publishTicket",
];

/// Sets the field at a path through objects.
fn set_at(document: &mut Document, path: &str, value: Bson) {
    match path.split_once('.') {
        None => drop(document.insert(path, value)),
        Some((name, rest)) => {
            let mut inner = document.get_document(name).cloned().unwrap_or_default();
            set_at(&mut inner, rest, value);
            document.insert(name, inner);
        }
    }
}

/// Whether a field is no field of a post with this value, or one on which servers do not agree.
fn is_left_out(field: &str, kind: &str) -> bool {
    let shape = ["status", "platform", "platforms", "platformStatus.tiktok", "platformStatus.tiktok.status"];
    let is_state = ["postretry", "postretry.tiktok"].contains(&field);
    (kind == "undefined" && shape.contains(&field)) || (kind.starts_with('$') && is_state)
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_in_every_field_of_a_delivery_is_reported_or_handled_and_all_commands_agree() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CONCURRENCY", "16");
    env.file("a.mp4", &video(2_000, 1));
    let mut documents = Vec::new();
    for field in FIELDS_OF_DELIVERY {
        for (kind, value) in values().into_iter().filter(|(kind, _)| !is_left_out(field, kind)) {
            let mut document = failed_delivery("tiktok", doc! { "updatedAt": hours_ago(3) });
            set_at(&mut document, field, value);
            documents.push((document.get_object_id("_id").unwrap(), format!("{field}: {kind}"), document));
        }
    }
    let raw = documents.iter().map(|(.., document)| RawDocumentBuf::try_from(document).unwrap());
    env.posts.clone_with_type::<RawDocumentBuf>().insert_many(raw.collect::<Vec<_>>()).await.unwrap();
    let good = failed_delivery("tiktok", doc! { "failedAt": hours_ago(500) });
    let good_id = good.get_object_id("_id").unwrap().to_hex();
    env.posts.insert_one(good).await.unwrap();
    let names = |ids: &BTreeSet<String>| -> BTreeSet<String> {
        let found = documents.iter().filter(|(id, ..)| ids.contains(&id.to_hex()));
        found.map(|(_, name, _)| name.clone()).collect()
    };

    let plan = json_of(&env, &["run", "--dry-run"]).await;
    let reported = ids(&plan["malformed"]);
    let list = json_of(&env, &["list-failed", "--limit", "5000"]).await;
    assert_eq!(list["total"].as_u64(), Some(list["posts"].as_array().unwrap().len() as u64));
    let malformed = malformed_in(&list);
    let unread: BTreeSet<String> = malformed.difference(&reported).cloned().collect();
    assert_eq!(names(&unread), BTreeSet::from(["postretry.tiktok.retryNotBefore: last date".to_owned()]));
    assert_eq!(names(&reported.difference(&malformed).cloned().collect()), BTreeSet::new());
    let told = names(&ids(&list["posts"]));
    for field in ["status", "platformStatus.tiktok.status"] {
        let of_field = format!("{field}: ");
        assert!(!told.iter().any(|name| name.starts_with(&of_field)), "{field} has no value that is `failed`");
    }

    // What is recorded as published is due, but no attempt is made.
    let texts = ["string", "NUL, bidi and ANSI", "combining marks"];
    let published = ["platformStatus.tiktok.mediaId", "tiktokVideoId"].into_iter();
    let published = published.flat_map(|field| texts.map(|text| format!("{field}: {text}")));
    let due: BTreeSet<String> = names(&ids(&plan["posts"])).into_iter().chain(published).collect();
    let listed = json_of(&env, &["list-failed", "--due", "--limit", "5000"]).await;
    assert_eq!(names(&ids(&listed["posts"])), due);
    let check = async || {
        let stats = json_of(&env, &["stats"]).await;
        assert_adds_up(&stats);
        assert_eq!(stats["malformed"].as_u64(), Some(malformed.len() as u64), "{stats}");
        stats
    };
    let stats = check().await;
    assert_eq!((&stats["due"], &stats["totalFailed"]), (&listed["total"], &list["total"]), "{stats}");
    let metrics = env.run(&["stats", "--format", "prometheus"]).await.expect(0).stdout;
    for line in [
        format!("postretry_due_posts{{platform=\"tiktok\"}} {}\n", listed["total"]),
        format!("postretry_malformed_posts {}\n", malformed.len()),
    ] {
        assert!(metrics.contains(&line), "{line} {metrics}");
    }

    let ran = env.run(&["run", "--format", "json"]).await;
    assert!(matches!(ran.code, 0 | 3), "{ran:?}");
    assert_eq!(names(&ids(&ran.json()["malformed"])), names(&reported));
    let platform_status = env.document(&good_id).await.get_document("platformStatus").unwrap().clone();
    assert_eq!(platform_status.get_document("tiktok").unwrap().get_str("status").ok(), Some("posted"));
    // The pass has made the indexes.
    check().await;
    for (id, name, document) in &documents {
        if !told.contains(name) || malformed.contains(&id.to_hex()) {
            let before = RawDocumentBuf::try_from(document).unwrap().into_bytes();
            assert!(bytes_of(&env, *id).await == before, "{name}: changed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_with_failed_in_it_is_no_failed_post() {
    let env = TestEnv::new().await;
    let with_status = |status: Bson| doc! { "platformStatus": { "tiktok": { "status": status } } };
    for fields in [
        doc! { "status": ["failed"] },
        with_status(vec!["failed"].into()),
        with_status(Bson::Array(Vec::new())),
        with_status(vec![Bson::Null].into()),
        with_status(Bson::Null),
        doc! { "platforms": ["myspace"], "platformStatus": { "myspace": { "status": ["failed"] } } },
    ] {
        let id = env.post("tiktok", fields).await;
        let before = env.document(&id).await;
        let list = json_of(&env, &["list-failed"]).await;
        assert_eq!((&list["total"], &list["posts"]), (&json!(0), &json!([])), "{before}");
        assert_eq!(list["hasMore"], false, "{before}");
        for filter in [&["--platform", "tiktok"][..], &["--since", "9d"], &["--due"]] {
            let list = json_of(&env, &[&["list-failed"][..], filter].concat()).await;
            assert_eq!((&list["total"], &list["posts"]), (&json!(0), &json!([])), "{filter:?} {before}");
        }
        let stats = json_of(&env, &["stats"]).await;
        assert_eq!((&stats["totalFailed"], &stats["malformed"], &stats["due"]), (&json!(0), &json!(0), &json!(0)));
        assert_adds_up(&stats);
        let report = env.pass(0).await;
        assert_eq!((&report["totals"]["due"], &report["malformed"]), (&json!(0), &json!([])), "{report}");
        for command in ["retry", "reset"] {
            env.run(&[command, &id]).await.expect(6);
        }
        assert_eq!(env.document(&id).await, before);
        env.posts.delete_many(doc! {}).await.unwrap();
    }
}

/// Lists in the place of `platformStatus` and of an entry of it, which no application writes. Filters look into them.
fn lists_of_statuses() -> Vec<Bson> {
    let with = |status: Bson| Bson::from(doc! { "status": status });
    let (failed, posted) = (with("failed".into()), with("posted".into()));
    let of = |platform: &str, entry: &Bson| Bson::from(doc! { platform: entry.clone() });
    let empty = Bson::from(Document::new());
    let in_list = Bson::Array(vec![failed.clone(), empty.clone()]);
    vec![
        vec![empty.clone()].into(),
        vec![Bson::Null].into(),
        vec![of("tiktok", &failed)].into(),
        vec![of("tiktok", &posted)].into(),
        vec![of("tiktok", &with(Bson::Null))].into(),
        vec![of("tiktok", &with(Bson::Array(Vec::new())))].into(),
        vec![of("tiktok", &failed), empty.clone()].into(),
        vec![of("tiktok", &posted), empty].into(),
        vec![of("tiktok", &failed), of("instagram", &failed)].into(),
        vec![of("tiktok", &failed), Bson::Int32(7)].into(),
        vec![of("myspace", &failed)].into(),
        of("tiktok", &in_list),
        vec![of("tiktok", &in_list)].into(),
        Bson::Null,
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_in_the_place_of_the_statuses_is_counted_alike_by_all_commands() {
    let names = [
        Document::new(),
        doc! { "platform": "tiktok" },
        doc! { "platform": "instagram" },
        doc! { "platform": "myspace" },
        doc! { "platform": ["tiktok"] },
        doc! { "platforms": [] },
        doc! { "platforms": "tiktok" },
        doc! { "platforms": ["tiktok"] },
        doc! { "platforms": ["tiktok", "instagram"] },
        doc! { "platforms": ["instagram", "tiktok"] },
        doc! { "platforms": ["myspace", "tiktok"] },
        doc! { "platforms": ["myspace"] },
        doc! { "platforms": [Bson::Null], "platform": "tiktok" },
        doc! { "platforms": [[]], "platform": "tiktok" },
    ];
    for has_indexes in [false, true] {
        let env = TestEnv::new().await;
        if has_indexes {
            env.post("tiktok", Document::new()).await;
            env.pass(0).await;
        }
        for statuses in lists_of_statuses() {
            env.posts.delete_many(doc! {}).await.unwrap();
            // No index can hold two lists of a document.
            let has_list = |names: &Document| names.values().any(|value| value.as_array().is_some());
            let names = names.iter().filter(|names| !has_indexes || !has_list(names));
            for (names, mark) in names.flat_map(|names| [(names, Bson::Null), (names, hours_ago(1))]) {
                let mut document = failed_post("tiktok", doc! { "platform": Bson::Undefined });
                document.extend(names.clone());
                document.extend(doc! { "platformStatus": statuses.clone(), "sheetTriggeredAt": mark });
                env.posts.insert_one(document).await.unwrap();
            }
            let place = format!("{statuses}, indexes: {has_indexes}");
            let list = json_of(&env, &["list-failed", "--limit", "500"]).await;
            let stats = json_of(&env, &["stats"]).await;
            let rows = list["posts"].as_array().unwrap();
            assert_eq!(list["total"], rows.len(), "{place}: {list}");
            assert_eq!(stats["totalFailed"], rows.len(), "{place}: {stats}");
            let is_malformed =
                |row: &&Value| row["error"].as_str().is_some_and(|error| error.starts_with("malformed field"));
            assert_eq!(stats["malformed"], rows.iter().filter(is_malformed).count(), "{place}: {stats}");
            assert_adds_up(&stats);
            let due = json_of(&env, &["list-failed", "--due", "--limit", "500"]).await;
            let plan = json_of(&env, &["run", "--dry-run"]).await;
            let planned = plan["posts"].as_array().unwrap().len();
            let found = due["posts"].as_array().unwrap().len();
            assert_eq!(found, planned, "{place}: {due}");
            assert_eq!((&due["total"], &stats["due"]), (&json!(planned), &json!(planned)), "{place}: {stats}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_with_tens_of_thousands_of_platforms_is_malformed_and_no_command_waits_for_it() {
    let env = TestEnv::new().await;
    let names = |count: u32| (0..count).map(|number| format!("name{number}"));
    let failed = || Bson::from(doc! { "status": "failed" });
    let statuses = |count: u32, tiktok: Bson| {
        let others = names(count).map(|name| (name, failed()));
        others.chain([("tiktok".to_owned(), tiktok)]).collect::<Document>()
    };
    let listed = |count: u32| ["tiktok".to_owned()].into_iter().chain(names(count)).collect::<Vec<_>>();
    let mut wrong = BTreeSet::new();
    for fields in [
        doc! { "platforms": listed(80_000) },
        doc! { "platforms": listed(80_000), "platformStatus": statuses(1, failed()) },
        doc! { "platforms": names(60_000).collect::<Vec<_>>(), "platformStatus": statuses(60_000, Bson::Null) },
        doc! { "platforms": listed(60_000), "platformStatus": statuses(60_000, doc! { "status": "posted" }.into()) },
        doc! { "platforms": ["tiktok"], "platformStatus": statuses(60_000, failed()) },
        doc! { "platforms": ["tiktok"], "platformStatus": statuses(60_000, Bson::Null) },
    ] {
        wrong.insert(env.post("tiktok", fields).await);
    }
    // As many as there may be.
    let most = doc! { "platforms": listed(99), "platformStatus": statuses(99, failed()) };
    let good = env.post("tiktok", most).await;
    let told = |list: &Value| {
        let ids = list.as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned());
        ids.filter(|id| *id != good).collect::<Vec<String>>()
    };
    let check = async || {
        let list = json_of(&env, &["list-failed", "--limit", "1000"]).await;
        assert_eq!(list["total"].as_u64(), Some(list["posts"].as_array().unwrap().len() as u64));
        assert_eq!(told(&list["posts"]).into_iter().collect::<BTreeSet<_>>(), wrong);
        assert_eq!(told(&list["posts"]).len(), wrong.len(), "each is told once");
        let stats = json_of(&env, &["stats"]).await;
        assert_adds_up(&stats);
        assert_eq!(stats["totalFailed"], list["total"], "{stats}");
        // The unknown platforms of the other document are malformed, too.
        assert_eq!(stats["malformed"].as_u64(), Some(wrong.len() as u64 + 99), "{stats}");
        stats
    };
    assert_eq!(check().await["due"], 1);
    let report = env.pass(0).await;
    assert_eq!(report["totals"]["posted"], 1, "{}", report["totals"]);
    assert_eq!(told(&report["malformed"]).into_iter().collect::<BTreeSet<_>>(), wrong);
    assert_eq!(told(&report["malformed"]).len(), wrong.len(), "each is told once");
    // The pass has made the indexes; what it has posted is still failed on 99 platforms that are not known.
    let list = json_of(&env, &["list-failed", "--limit", "1000"]).await;
    assert_eq!(list["total"].as_u64(), Some(wrong.len() as u64 + 99));
    let stats = json_of(&env, &["stats"]).await;
    assert_eq!((&stats["totalFailed"], &stats["malformed"]), (&list["total"], &list["total"]), "{stats}");
}

// Ids.

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_every_type_is_shown_found_and_published() {
    let env = TestEnv::new().await;
    let end_of_time = |before: i64| date(i64::MAX - before);
    let values = [
        Bson::ObjectId(ObjectId::new()),
        "spring-42".into(),
        Bson::Int32(42),
        Bson::Int64(i64::MAX),
        Bson::Double(1.5),
        Bson::Double(f64::NAN),
        Bson::Double(f64::INFINITY),
        decimal("2.5"),
        true.into(),
        Bson::Null,
        date(1_700_000_000_000),
        date(i64::MIN),
        end_of_time(0),
        end_of_time(1),
        doc! { "shop": 1, "at": end_of_time(0) }.into(),
        doc! { "shop": 1, "at": end_of_time(1) }.into(),
        Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![0, 255] }),
        Bson::Binary(bson::Uuid::new().into()),
        Bson::Timestamp(Timestamp { time: 5, increment: 1 }),
        Bson::JavaScriptCode("1".into()),
        Bson::MinKey,
        Bson::MaxKey,
        // As long as an id can be: a string has five bytes more.
        "x".repeat(1_019).into(),
    ];
    for value in &values {
        let document = failed_post("tiktok", doc! { "_id": value.clone() });
        insert(&env, &RawDocumentBuf::try_from(&document).unwrap()).await;
    }
    let list = json_of(&env, &["list-failed"]).await;
    assert_eq!(malformed_in(&list), BTreeSet::new());
    let shown = ids(&list["posts"]);
    assert_eq!((shown.len(), &list["total"]), (values.len(), &json!(values.len())), "no two look alike: {shown:?}");
    for id in &shown {
        let post = env.run(&["list-failed", "--format", "json", "--", id]).await.expect(0).json();
        assert_eq!(post["post"]["id"], json!(id));
    }
    assert_eq!(env.pass(0).await["totals"]["posted"], values.len());
    assert_eq!(env.posted().await, values.len() as u64);
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_that_are_too_long_are_told_and_hide_no_other_post() {
    let mut env = TestEnv::new().await;
    env.set("POST_RETRY_CONCURRENCY", "16");
    let with = |id: Bson, hours: i64| {
        failed_post("tiktok", doc! { "_id": id, "failedAt": hours_ago(hours), "videoPath": "none.mp4" })
    };
    // Two pages with nothing but such ids, and then one every few posts; a page ends with the largest.
    let mut documents: Vec<Document> =
        (0..150).map(|number| with(format!("{number:04}{}", "x".repeat(2_000)).into(), 9)).collect();
    for number in 0..150 {
        let long = match number {
            105 => 3_000_000,
            number if number % 7 == 0 => 40_000,
            _ => 0,
        };
        documents.push(with(format!("{number:04}{}", "x".repeat(long)).into(), 5));
    }
    documents.push(with(doc! { "a": "x".repeat(2_000) }.into(), 5));
    documents.push(with(Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: vec![7; 2_000] }), 5));
    env.posts.insert_many(&documents).await.unwrap();
    let (malformed, good) = (150 + 22 + 2, 150 - 22);
    let check = async || {
        let list = json_of(&env, &["list-failed", "--limit", "1000"]).await;
        let rows = list["posts"].as_array().unwrap();
        let wrong: Vec<&Value> =
            rows.iter().filter(|row| row["error"].as_str().unwrap().contains("field `_id`")).collect();
        assert_eq!((wrong.len(), rows.len(), &list["total"]), (malformed, malformed + good, &json!(malformed + good)));
        assert!(wrong.iter().all(|row| row["id"].as_str().unwrap().chars().count() < 50), "{}", wrong[0]);
        assert!(wrong[0]["error"].as_str().unwrap().contains("longer than 1024 bytes"), "{}", wrong[0]);
        let stats = json_of(&env, &["stats"]).await;
        assert_eq!((&stats["malformed"], &stats["totalFailed"]), (&json!(malformed), &list["total"]), "{stats}");
        assert_adds_up(&stats);
        (list, stats)
    };
    let (list, stats) = check().await;
    assert_eq!(stats["due"], good);
    let due = json_of(&env, &["list-failed", "--due", "--limit", "1000"]).await;
    assert_eq!((&due["total"], due["posts"].as_array().unwrap().len()), (&json!(good), good));
    let plan = json_of(&env, &["run", "--dry-run"]).await;
    let count = |name: &str| plan[name].as_array().unwrap().len();
    assert_eq!((count("posts"), count("malformed")), (good, malformed));
    let shown = ids(&list["posts"]).into_iter().find(|id| id.ends_with('…')).unwrap();
    for id in [shown, format!("0000{}", "x".repeat(2_000))] {
        for command in ["list-failed", "retry", "reset"] {
            env.run(&[command, &id]).await.expect(6);
        }
    }
    let report = env.run(&["run", "--format", "json"]).await.expect(0).json();
    assert_eq!(report["totals"]["failed"], good, "{}", report["totals"]);
    assert_eq!(report["malformed"].as_array().unwrap().len(), malformed);
    check().await;
    env.run(&["reset", "--platform", "tiktok", "--yes"]).await.expect(6);
}

#[tokio::test(flavor = "multi_thread")]
async fn exhausted_posts_are_marked_however_long_the_ids_of_others_are() {
    let env = TestEnv::new().await;
    let exhausted = |id: Bson| failed_post("tiktok", doc! { "_id": id, "retryCount": 5 });
    let long = (0..450).map(|number| exhausted(format!("{number:04}{}", "x".repeat(40_000)).into()));
    // As long as they can be, so that one request has as much as possible.
    let most = (0..600).map(|number| exhausted(format!("{number:04}{}", "y".repeat(1_000)).into()));
    env.posts.insert_many(long.chain(most)).await.unwrap();
    for flagged in [600, 0] {
        let ran = env.run(&["run", "--format", "json"]).await;
        assert!(matches!(ran.code, 0 | 3), "{} {}", ran.code, ran.stderr);
        let report = ran.json();
        assert_eq!(report["totals"]["flagged"], flagged);
        assert_eq!(report["malformed"].as_array().unwrap().len(), 450);
    }
    assert_eq!(env.posts.count_documents(doc! { "permanentlyFailed": true }).await.unwrap(), 600);
}

// Runs and tokens.

#[tokio::test(flavor = "multi_thread")]
async fn runs_and_tokens_that_nobody_can_read_stop_no_command() {
    let env = TestEnv::new().await;
    env.post("tiktok", Document::new()).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let tokens = env.database.collection::<RawDocumentBuf>("postretry_tokens");
    let kept = tokens.find_one(doc! {}).await.unwrap().unwrap();
    let mut kept = Document::try_from(&kept).unwrap();
    kept.insert("note", doc! { "$oid": "x" });
    let key = kept.get_str("_id").unwrap().to_owned();
    tokens.delete_many(doc! { "_id": &key }).await.unwrap();
    let late = date(i64::MAX);
    let records = [
        kept,
        doc! { "_id": "a", "platform": "tiktok", "accessToken": 5, "source": { "$date": "x" } },
        doc! { "_id": "b", "platform": ["tiktok"], "accessToken": "y", "refresh": "x" },
        doc! {
            "_id": "c", "platform": "instagram", "source": "x", "accessToken": "y", "accessExpiresAt": late.clone(),
            "refreshToken": 7, "refreshExpiresAt": [late.clone()],
        },
    ];
    tokens.insert_many(records.iter().map(|record| RawDocumentBuf::try_from(record).unwrap())).await.unwrap();

    let most = Bson::Int64(i64::MAX);
    let attempt = doc! { "platform": "tiktok", "attempt": 1, "attempts": most.clone(), "posted": most.clone() };
    let odd = doc! { "platform": 5, "attempt": "y", "attempts": decimal("1E300"), "posted": f64::NAN, "after": ["x"] };
    let totals = doc! { "posted": most.clone(), "failed": most.clone(), "permanentlyFailed": most.clone() };
    let runs = [
        doc! { "_id": 1, "startedAt": [hours_ago(1)], "totals": totals.clone() },
        doc! { "_id": 2, "startedAt": late.clone(), "durationMs": "x", "outcome": 5, "totals": totals.clone() },
        doc! { "_id": 3, "startedAt": date(i64::MIN), "totals": { "failed": "x", "permanentlyFailed": [1] } },
        doc! { "_id": 4, "startedAt": hours_ago(1), "totals": { "failed": "x", "posted": f64::NAN }, "attempts": "x" },
        doc! { "_id": 5, "startedAt": hours_ago(1), "host": { "$oid": "x" }, "totals": { "$numberLong": "x" } },
        doc! {
            "_id": 6, "startedAt": hours_ago(0), "totals": totals.clone(), "durationMs": most,
            "attempts": [attempt.clone(), attempt.clone(), attempt, odd, 7, Bson::Null, "x", []],
            "byPlatform": {
                "tiktok": 5, "instagram": { "givenUp": "x" },
                "youtube_shorts": { "givenUp": { "category": "auth", "reason": 7, "waiting": "x", "since": late } },
            },
        },
        doc! { "_id": 7, "startedAt": "x", "totals": [totals], "byPlatform": [1], "attempts": [[]] },
        doc! { "_id": 8 },
        doc! { "_id": { "host": "x".repeat(2_000) }, "startedAt": { "$date": "x" } },
    ];
    let recorded = env.database.collection::<RawDocumentBuf>("postretry_runs");
    recorded.insert_many(runs.iter().map(|run| RawDocumentBuf::try_from(run).unwrap())).await.unwrap();

    let good = env.post("tiktok", Document::new()).await;
    let stats = json_of(&env, &["stats"]).await;
    assert_eq!(stats["runs"]["runCount"].as_u64(), Some(runs.len() as u64 + 1), "{stats}");
    assert!(stats["runs"]["successCount"].as_u64().is_some_and(|count| count >= 1), "{stats}");
    assert_eq!(json_of(&env, &["stats", "--since", "1d"]).await["due"], 1);
    for arguments in [
        &["stats"][..],
        &["stats", "--format", "prometheus"],
        &["list-failed"],
        &["list-failed", &good],
        &["run", "--dry-run"],
    ] {
        env.run(arguments).await.expect(0);
    }
    let (code, _) = env.on_terminal(100, &["stats"], "").await;
    assert_eq!(code, 0);
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_extended_json_stops_no_command_and_is_told_with_its_id() {
    let env = TestEnv::new().await;
    let title = post_raw(&env, doc! { "title": { "$oid": "x" } }).await;
    let failed_at = post_raw(&env, doc! { "failedAt": { "$date": "x" } }).await;
    // What is nobody's to read may look like anything.
    let foreign = post_raw(&env, doc! { "custom": { "$numberInt": "x" }, "hashtags": { "x": { "$oid": "x" } } }).await;
    let good = env.post("tiktok", Document::new()).await;
    for arguments in [&["run", "--dry-run"][..], &["list-failed"], &["list-failed", &title], &["stats"]] {
        env.run(arguments).await.expect(0);
    }
    let report = json_of(&env, &["run"]).await;
    assert_eq!(ids(&report["malformed"]), BTreeSet::from([title.clone(), failed_at]));
    assert_eq!(ids(&report["posts"]), BTreeSet::from([foreign, good]));
    assert_eq!(report["totals"]["posted"], 2, "{report}");
    env.run(&["reset", &title]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_that_is_not_utf_8_is_malformed_and_the_others_are_read() {
    let env = TestEnv::new().await;
    let document = failed_post("tiktok", doc! { "caption": "QQQQ" });
    let id = document.get_object_id("_id").unwrap();
    let mut bytes = RawDocumentBuf::try_from(&document).unwrap().into_bytes();
    let at = bytes.windows(4).position(|part| part == b"QQQQ").unwrap();
    bytes[at..at + 2].copy_from_slice(&[0xC3, 0x28]);
    insert(&env, &RawDocumentBuf::from_bytes(bytes.clone()).unwrap()).await;
    let good = env.post("tiktok", Document::new()).await;
    let list = json_of(&env, &["list-failed"]).await;
    assert_eq!(malformed_in(&list), BTreeSet::from([id.to_hex()]), "{list}");
    let report = env.pass(0).await;
    let told = &report["malformed"][0];
    assert_eq!((&told["id"], &told["field"]), (&json!(id.to_hex()), &json!("caption")), "{report}");
    assert_eq!(ids(&report["posts"]), BTreeSet::from([good]));
    assert!(bytes_of(&env, id).await == bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_dates_before_all_dates_do_not_hide_the_posts_after_them() {
    let env = TestEnv::new().await;
    let first = (0..700).map(|_| failed_post("tiktok", doc! { "failedAt": date(i64::MIN) }));
    env.posts.insert_many(first).await.unwrap();
    let last = (0..700).map(|_| failed_post("tiktok", doc! { "failedAt": date(i64::MAX) }));
    env.posts.insert_many(last).await.unwrap();
    env.post("tiktok", Document::new()).await;
    let report = env.pass(0).await;
    assert_eq!(report["totals"]["posted"], 1, "{}", report["totals"]);
    let malformed = report["malformed"].as_array().unwrap();
    assert_eq!((malformed.len(), ids(&report["malformed"]).len()), (1400, 1400));
    for told in malformed {
        assert_eq!((&told["field"], &told["problem"]), (&json!("failedAt"), &json!("the date is out of range")));
    }
    assert_eq!(json_of(&env, &["stats"]).await["due"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_retry_state_of_a_delivery_in_a_list_is_reported() {
    let env = TestEnv::new().await;
    let mut wrong = BTreeSet::new();
    for state in [
        doc! { "postretry": [] },
        doc! { "postretry": [5] },
        doc! { "postretry": "x" },
        doc! { "postretry": { "youtube": [] } },
        doc! { "postretry": { "youtube": { "retryCount": [] } } },
        doc! { "postretry": { "youtube": { "retryClaim": [5] } } },
        doc! { "postretry": { "youtube": { "retryClaim": { "by": "x", "until": [] } } } },
    ] {
        let mut fields = doc! {
            "platforms": ["tiktok", "youtube"],
            "platformStatus": {
                "tiktok": { "status": "posted" }, "youtube": { "status": "failed", "lastFailedAt": hours_ago(5) },
            },
        };
        fields.extend(state);
        wrong.insert(env.post("tiktok", fields).await);
    }
    let report = env.pass(0).await;
    assert_eq!(ids(&report["malformed"]), wrong, "{report}");
    assert_eq!(report["malformed"].as_array().unwrap().len(), wrong.len(), "each is told once");
    assert_eq!(malformed_in(&json_of(&env, &["list-failed"]).await), wrong);
    let stats = json_of(&env, &["stats"]).await;
    assert_eq!((&stats["due"], &stats["malformed"]), (&json!(0), &json!(wrong.len())), "{stats}");
    assert_adds_up(&stats);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_mends_a_retry_state_that_is_a_list() {
    let env = TestEnv::new().await;
    let state = doc! { "retryCount": 3, "permanentlyFailed": true };
    let states = [
        doc! { "postretry": [] },
        doc! { "postretry": [5] },
        doc! { "postretry": [{ "youtube": state.clone() }] },
        doc! { "postretry": "x" },
        doc! { "postretry": { "youtube": [] } },
        doc! { "postretry": { "youtube": [state] } },
    ];
    for is_selection in [false, true] {
        let mut made = Vec::new();
        for state in &states {
            let mut fields = doc! {
                "platforms": ["tiktok", "youtube"],
                "platformStatus": {
                    "tiktok": { "status": "posted" }, "youtube": { "status": "failed", "lastFailedAt": hours_ago(5) },
                },
            };
            fields.extend(state.clone());
            made.push(env.post("tiktok", fields).await);
        }
        assert_eq!(malformed_in(&json_of(&env, &["list-failed"]).await).len(), made.len());
        let mut arguments = vec!["reset"];
        if is_selection {
            arguments.extend(["--platform", "youtube", "--yes"]);
        } else {
            arguments.extend(made.iter().map(String::as_str));
        }
        env.run(&arguments).await.expect(0);
        assert_eq!(malformed_in(&json_of(&env, &["list-failed"]).await), BTreeSet::new(), "{arguments:?}");
        for id in &made {
            let document = env.document(id).await;
            let state = document.get_document("postretry").and_then(|all| all.get_document("youtube"));
            assert_eq!(state.unwrap().get_i32("retryCount").ok(), Some(0), "{document}");
        }
        env.posts.delete_many(doc! {}).await.unwrap();
    }
}

// Refused writes.

/// Everything that a pass has said.
fn words(ran: &Ran) -> String {
    format!("{}{}", ran.stdout, ran.stderr)
}

/// Lets the collection refuse documents that do not match.
async fn validate(env: &TestEnv, validator: Document) {
    let command = doc! { "collMod": "marketing_posts", "validator": validator, "validationLevel": "strict" };
    env.database.run_command(command).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_refuses_one_post_stops_no_other() {
    // The claim is refused, or the outcome.
    for field in ["retryClaim", "retryHistory"] {
        let env = TestEnv::new().await;
        let refused = env.post("tiktok", doc! { "title": "secret words", "failedAt": hours_ago(9) }).await;
        let mut good = Vec::new();
        for platform in ["tiktok", "tiktok", "instagram"] {
            good.push(env.post(platform, Document::new()).await);
        }
        let is_fine = doc! { "title": { "$ne": "secret words" } };
        validate(&env, doc! { "$or": [is_fine, { field: { "$exists": false } }] }).await;
        let ran = env.run(&["run", "--format", "json"]).await;
        assert_ne!(ran.code, 5, "{ran:?}");
        assert!(words(&ran).contains(&refused), "{field}: {ran:?}");
        assert!(!ran.stderr.contains("secret words"), "{field}: {ran:?}");
        for id in &good {
            assert_eq!(env.document(id).await.get_str("status").ok(), Some("posted"), "{field}: {ran:?}");
        }
        assert_eq!(env.document(&refused).await.get_str("status").ok(), Some("failed"));
        // Whatever became of it, it is not sent a second time.
        let sent = env.sandbox.published().len();
        env.run(&["run"]).await;
        assert_eq!(env.sandbox.published().len(), sent, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validator_that_refuses_a_mark_or_what_a_person_asks_for_stops_no_other() {
    let env = TestEnv::new().await;
    let secret = |fields: Document| {
        let mut all = doc! { "title": "secret words" };
        all.extend(fields);
        all
    };
    let refused = env.post("tiktok", secret(doc! { "retryCount": 5 })).await;
    let waiting = env.post("tiktok", secret(doc! { "failedAt": date(now().timestamp_millis()) })).await;
    let good = env.post("tiktok", doc! { "retryCount": 5 }).await;
    let is_fine = doc! { "title": { "$ne": "secret words" } };
    let is_unchanged = doc! { "permanentlyFailed": { "$exists": false }, "retryClaim": { "$exists": false } };
    validate(&env, doc! { "$or": [is_fine, is_unchanged] }).await;
    let before = [env.document(&refused).await, env.document(&waiting).await];
    let is_told = |ran: &Ran| {
        assert!(words(ran).contains("validation rules") && !ran.stderr.contains("secret words"), "{ran:?}");
    };

    let ran = env.run(&["run", "--format", "json"]).await.expect(3);
    is_told(&ran);
    let report = ran.json();
    assert_eq!(report["totals"]["flagged"], 1, "{report}");
    assert_eq!(ids(&report["malformed"]), BTreeSet::from([refused.clone()]));
    assert!(env.document(&good).await.get_bool("permanentlyFailed").unwrap());

    let ran = env.run(&["reset", "--format", "json", &refused, &good]).await.expect(1);
    is_told(&ran);
    let outcomes: Vec<Value> =
        ran.json()["posts"].as_array().unwrap().iter().map(|row| row["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failed", "reset"], "{ran:?}");
    assert!(!env.document(&good).await.get_bool("permanentlyFailed").unwrap());
    let ran = env.run(&["reset", "--format", "json", "--platform", "tiktok", "--yes"]).await.expect(1);
    is_told(&ran);
    assert_eq!(ran.json()["posts"].as_array().unwrap().len(), 3, "{ran:?}");
    let ran = env.run(&["reset", "--format", "json", "--posted", &refused]).await.expect(1);
    is_told(&ran);
    assert_eq!(ran.json()["posts"][0]["outcome"], "failed", "{ran:?}");
    for arguments in [&["retry", waiting.as_str()][..], &["retry", "--force", refused.as_str()]] {
        let ran = env.run(&[arguments, &["--format", "json"]].concat()).await.expect(1);
        is_told(&ran);
        assert_eq!(ran.json()["posts"][0]["outcome"], "malformed", "{ran:?}");
    }
    assert_eq!([env.document(&refused).await, env.document(&waiting).await], before);
    assert_eq!(env.sandbox.published().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_cannot_grow_stops_no_other() {
    const LARGEST: usize = 16 * 1024 * 1024;
    let env = TestEnv::new().await;
    let mut document = failed_post("tiktok", doc! { "failedAt": hours_ago(9), "blob": "" });
    let size = RawDocumentBuf::try_from(&document).unwrap().as_bytes().len();
    document.insert("blob", "x".repeat(LARGEST - size - 20));
    let id = document.get_object_id("_id").unwrap();
    insert(&env, &RawDocumentBuf::try_from(&document).unwrap()).await;
    let good = env.post("tiktok", Document::new()).await;
    let ran = env.run(&["run", "--format", "json"]).await;
    assert_ne!(ran.code, 5, "{ran:?}");
    assert!(words(&ran).contains(&id.to_hex()), "{ran:?}");
    assert_eq!(env.document(&good).await.get_str("status").ok(), Some("posted"));
    assert_eq!(env.sandbox.published().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_16_megabytes_are_reported_and_the_pass_goes_on() {
    let env = TestEnv::new().await;
    let long = "x".repeat(15_000_000);
    // Fields that an index has.
    let indexed = "x".repeat(2_000_000);
    let items: Vec<i32> = vec![7; 1_000_000];
    let mut wrong = BTreeSet::new();
    for fields in [
        doc! { "failedAt": indexed.as_str() },
        doc! { "retryCount": indexed.as_str() },
        doc! { "platform": indexed.as_str() },
        doc! { "hashtags": items },
        doc! { "retryHistory": { "x": long.as_str() } },
        doc! { "updatedAt": long.as_str() },
    ] {
        wrong.insert(post_raw(&env, fields).await);
    }
    post_raw(&env, doc! { "storyId": long.as_str() }).await;
    let good = env.post("tiktok", Document::new()).await;
    let list = json_of(&env, &["list-failed"]).await;
    assert_eq!(malformed_in(&list), wrong);
    json_of(&env, &["stats"]).await;
    let ran = env.run(&["run", "--format", "json"]).await.expect(0);
    assert_eq!(ids(&ran.json()["malformed"]), wrong);
    assert!(ran.stdout.len() < 100_000, "{} bytes", ran.stdout.len());
    assert_eq!(env.document(&good).await.get_str("status").ok(), Some("posted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_that_no_index_can_hold_makes_a_warning_and_no_end() {
    let env = TestEnv::new().await;
    let id = post_raw(&env, doc! { "retryCount": [1], "failedAt": [hours_ago(50)] }).await;
    let good = env.post("tiktok", Document::new()).await;
    let ran = env.run(&["run", "--format", "json"]).await.expect(0);
    assert!(ran.stderr.contains("index"), "{ran:?}");
    assert_eq!(ids(&ran.json()["malformed"]), BTreeSet::from([id]));
    assert_eq!(env.document(&good).await.get_str("status").ok(), Some("posted"));
}

// Operators.

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_in_a_document_is_no_question_to_the_stories() {
    let env = TestEnv::new().await;
    let stories = env.database.collection::<Document>("stories");
    stories.insert_many([doc! { "_id": "s1", "name": "One" }, doc! { "_id": 2, "name": "Two" }]).await.unwrap();
    let pattern = Bson::RegularExpression(Regex {
        pattern: ".*".to_owned().try_into().unwrap(),
        options: String::new().try_into().unwrap(),
    });
    for story in [doc! { "$gt": 1 }.into(), doc! { "$ne": Bson::Null }.into(), pattern, Bson::Array(vec!["s1".into()])]
    {
        post_raw(&env, doc! { "storyId": story }).await;
    }
    let named = post_raw(&env, doc! { "storyId": "s1" }).await;
    let list = json_of(&env, &["list-failed"]).await;
    for row in list["posts"].as_array().unwrap() {
        let expected = if row["id"] == json!(named) { json!("One") } else { Value::Null };
        assert_eq!(row["story"], expected, "{row}");
    }
    assert_eq!(list["total"], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_as_an_id_names_no_post() {
    let env = TestEnv::new().await;
    env.posts.insert_one(failed_post("tiktok", doc! { "_id": "abc", "retryCount": 3 })).await.unwrap();
    let before = env.posts.find_one(doc! {}).await.unwrap();
    for id in [
        r#"{"$regularExpression":{"pattern":".*","options":""}}"#,
        r#"{"$gt":""}"#,
        r#"{"$ne":null}"#,
        r#"{"$undefined":true}"#,
        r#"{"a\u0000b":1}"#,
        r#"[{"$gt":""}]"#,
        "/.*/",
    ] {
        for command in ["reset", "retry", "list-failed"] {
            let ran = env.run(&[command, id]).await;
            assert_eq!(ran.code, 6, "{command} {id}: {ran:?}");
        }
    }
    assert_eq!(env.posts.find_one(doc! {}).await.unwrap(), before);
    assert_eq!(env.sandbox.published().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_differs_only_in_case_is_another_id() {
    let env = TestEnv::new().await;
    let collation = doc! { "locale": "en", "strength": 2 };
    env.database.run_command(doc! { "create": "marketing_posts", "collation": collation }).await.unwrap();
    env.posts.insert_one(failed_post("tiktok", doc! { "_id": "ABC", "retryCount": 3 })).await.unwrap();
    env.run(&["reset", "abc"]).await.expect(6);
    env.run(&["reset", "ABC"]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collation_that_ignores_case_does_not_hide_posts_from_the_counts() {
    let env = TestEnv::new().await;
    let collation = doc! { "locale": "en", "strength": 2 };
    env.database.run_command(doc! { "create": "marketing_posts", "collation": collation }).await.unwrap();
    // The server takes the first spelling for all.
    let category = |name: &str, more: Document| {
        let mut fields = doc! { "failedAt": hours_ago(0), "failureCategory": name };
        fields.extend(more);
        failed_post("tiktok", fields)
    };
    let posts = [
        failed_post("tiktok", doc! { "status": "Failed", "failedAt": hours_ago(0) }),
        category("network", doc! {}),
        category("network", doc! {}),
        category("Network", doc! { "platformStatus": { "tiktok": { "status": 7 } } }),
    ];
    env.posts.insert_many(posts).await.unwrap();
    for _ in 0..2 {
        let list = json_of(&env, &["list-failed"]).await;
        let stats = json_of(&env, &["stats"]).await;
        assert_eq!(list["posts"].as_array().unwrap().len(), 2, "{list}");
        assert_eq!((&list["total"], &stats["totalFailed"]), (&json!(3), &json!(3)), "{stats}");
        assert_adds_up(&stats);
        // It makes the indexes.
        env.run(&["run"]).await.expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn code_in_the_place_of_a_category_or_a_platform_is_no_text_for_the_counts() {
    let env = TestEnv::new().await;
    let code = |text: &str| Bson::JavaScriptCode(text.to_owned());
    let with = |field: &str, value: Bson| {
        let mut fields = doc! { "failedAt": hours_ago(0) };
        fields.insert(field, value);
        failed_post("tiktok", fields)
    };
    let mut no_post = with("failureCategory", code("1"));
    no_post.insert("platformStatus", doc! { "instagram": { "status": Bson::Null } });
    env.posts
        .insert_many([with("failureCategory", code("1")), with("platform", code("tiktok")), no_post])
        .await
        .unwrap();
    for _ in 0..2 {
        let list = json_of(&env, &["list-failed"]).await;
        let stats = json_of(&env, &["stats"]).await;
        assert_eq!((list["posts"].as_array().unwrap().len(), &list["total"]), (2, &json!(2)), "{list}");
        assert_eq!((&stats["totalFailed"], &stats["malformed"]), (&json!(2), &json!(2)), "{stats}");
        assert_eq!(stats["byCategory"], json!([]), "{stats}");
        assert_adds_up(&stats);
        // It makes the indexes.
        env.run(&["run"]).await.expect(0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_posts_whose_ids_are_written_alike_the_failed_one_is_meant() {
    let env = TestEnv::new().await;
    let posted = failed_post("tiktok", doc! { "_id": "42", "status": "posted" });
    let failed = failed_post("tiktok", doc! { "_id": 42_i64, "retryCount": 3 });
    env.posts.insert_many([posted, failed]).await.unwrap();
    assert_eq!(json_of(&env, &["list-failed", "42"]).await["post"]["retryCount"], 3);
    env.run(&["reset", "42"]).await.expect(0);
    env.run(&["retry", "42"]).await.expect(0);
    assert_eq!(env.posts.count_documents(doc! { "_id": 42_i64, "status": "posted" }).await.unwrap(), 1);
    env.run(&["list-failed", "42"]).await.expect(6);
}

// History.

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_the_history_that_cannot_be_read_is_kept() {
    let env = TestEnv::new().await;
    let interrupted = doc! { "attempt": 1, "outcome": "interrupted", "host": "h", "interruptions": 1 };
    let strange = doc! { "attempt": 1, "outcome": "from a later version", "note": { "$oid": "x" } };
    let fields = doc! {
        "retryCount": 1, "retryClaim": { "by": "dead", "until": hours_ago(1) }, "retryHistory": [interrupted, strange],
    };
    let id = post_raw(&env, fields).await;
    assert_eq!(env.pass(0).await["totals"]["posted"], 1);
    let raw = bytes_of(&env, ObjectId::parse_str(&id).unwrap()).await;
    let document = Document::try_from(&RawDocumentBuf::from_bytes(raw).unwrap()).unwrap();
    let history = document.get_array("retryHistory").unwrap();
    let outcomes: Vec<_> =
        history.iter().map(|entry| entry.as_document().unwrap().get_str("outcome").unwrap()).collect();
    assert_eq!(outcomes, ["interrupted", "from a later version", "posted"], "{document}");
}
