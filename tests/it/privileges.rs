//! What the MongoDB user needs: the least role of docs/operations.md, taken from its text, and less than that.

use mongodb::bson::{Bson, Document, doc};
use postretry_mongod::Mongod;

use crate::support::env::{Ran, TestEnv};

/// A collection, and what may be done with it.
pub(crate) type Privilege = (String, Vec<String>);

pub(crate) const PASSWORD: &str = "hush-of-the-user";

/// The privileges of the role in the documentation, by collection.
pub(crate) fn documented() -> Vec<Privilege> {
    let text = include_str!("../../docs/operations.md");
    let role = text.split_once("db.createRole(").and_then(|(_, rest)| rest.split_once("db.createUser(")).unwrap().0;
    let quoted = |line: &str| -> Vec<String> { line.split('"').skip(1).step_by(2).map(str::to_owned).collect() };
    let privileges = role.lines().filter(|line| line.contains("resource:")).map(quoted);
    privileges.map(|words| (words[1].clone(), words[2..].to_vec())).collect()
}

/// A server with access control, and a user for every role: its name, and which actions on which collection it has.
async fn guarded(roles: &[(&str, Vec<Privilege>)]) -> (Mongod, TestEnv) {
    let mut server = Mongod::start().await;
    let mut env = TestEnv::on(&server).await;
    let name = env.database.name().to_owned();
    for (user, privileges) in roles {
        let privileges: Vec<Document> = privileges
            .iter()
            .map(|(collection, actions)| {
                doc! { "resource": { "db": &name, "collection": collection }, "actions": actions.clone() }
            })
            .collect();
        let role = doc! { "createRole": *user, "privileges": privileges, "roles": [] };
        env.database.run_command(role).await.unwrap();
        let made = doc! { "createUser": *user, "pwd": PASSWORD, "roles": [*user] };
        env.database.run_command(made).await.unwrap();
    }
    let owner = doc! { "createUser": "owner", "pwd": PASSWORD, "roles": ["dbOwner"] };
    env.database.run_command(owner).await.unwrap();
    server.demand_sign_in().await.unwrap();
    let owner = mongodb::Client::with_uri_str(signed_in(&env, "owner")).await.unwrap();
    env.database = owner.database(&name);
    env.posts = env.database.collection("marketing_posts");
    (server, env)
}

/// The connection string of a user.
fn signed_in(env: &TestEnv, user: &str) -> String {
    env.uri.replace("mongodb://", &format!("mongodb://{user}:{PASSWORD}@"))
}

/// The privileges without one action on one collection.
fn without(action: &str, on: &str, privileges: &[Privilege]) -> Vec<Privilege> {
    let mut less = privileges.to_vec();
    for (_, actions) in less.iter_mut().filter(|(collection, _)| collection == on) {
        actions.retain(|has| has != action);
    }
    less
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_role_is_enough_and_what_is_missing_is_reported() {
    let least = documented();
    assert_eq!(least.len(), 4, "{least:?}");
    let reading = least.iter().map(|(collection, _)| (collection.clone(), vec!["find".to_owned()])).collect();
    let no_index = without("createIndex", "marketing_posts", &least);
    let no_tokens = without("update", "postretry_tokens", &least);
    let (_server, mut env) = guarded(&[
        ("postretry", least),
        ("no_index", no_index),
        ("no_tokens", no_tokens),
        ("reader", reading),
        ("nobody", Vec::new()),
    ])
    .await;
    let command = async |env: &mut TestEnv, user: &str, arguments: &[&str]| -> Ran {
        env.set("MONGODB_URI", &signed_in(env, user));
        let ran = env.run(arguments).await;
        assert!(!ran.stdout.contains("hush") && !ran.stderr.contains("hush"), "{ran:?}");
        ran
    };

    // A user without the right to make indexes is warned, and publishes.
    let id = env.post("tiktok", Document::new()).await;
    let ran = command(&mut env, "no_index", &["run"]).await.expect(0);
    assert!(ran.stderr.contains("may not create the indexes"), "{}", ran.stderr);
    assert_eq!(env.get(&id).await.get_str("status").ok(), Some("posted"));

    // The documented one does everything without a word.
    let posts = [
        env.post("tiktok", Document::new()).await,
        env.post("instagram", doc! { "storyId": "spring" }).await,
        env.post("youtube", doc! { "retryCount": 5, "permanentlyFailed": true }).await,
    ];
    for arguments in [
        &["run", "--dry-run"][..],
        &["list-failed"],
        &["list-failed", &posts[1]],
        &["reset", &posts[2]],
        &["run"],
        &["stats"],
    ] {
        let ran = command(&mut env, "postretry", arguments).await.expect(0);
        assert_eq!(ran.stderr, "", "{arguments:?}");
    }
    for id in &posts {
        assert_eq!(env.get(id).await.get_str("status").ok(), Some("posted"));
    }
    let indexes = env.posts.list_index_names().await.unwrap();
    assert!(indexes.iter().any(|name| name == "postretry_due_posts"), "{indexes:?}");
    let again = env.post("tiktok", Document::new()).await;
    command(&mut env, "postretry", &["retry", &again]).await.expect(0);

    // Whoever may only read sees everything and publishes nothing.
    let id = env.post("tiktok", Document::new()).await;
    let sent = env.sandbox.world().requests.len();
    for arguments in [&["list-failed"][..], &["list-failed", &id], &["stats"], &["run", "--dry-run"]] {
        command(&mut env, "reader", arguments).await.expect(0);
    }
    for arguments in [&["run"][..], &["retry", &id], &["reset", &id]] {
        let ran = command(&mut env, "reader", arguments).await.expect(5);
        assert!(ran.stderr.contains("it does not allow the user to run"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: the user needs"), "{}", ran.stderr);
    }
    assert_eq!(env.get(&id).await.get("retryCount"), Some(&Bson::Int32(0)));
    // With no token stored, a new one has to be asked for and kept.
    env.database.collection::<Document>("postretry_tokens").drop().await.unwrap();
    let ran = command(&mut env, "no_tokens", &["run"]).await.expect(5);
    let error = format!("for post {id}: it does not allow the user to run `update`\nhint: the user needs");
    assert!(ran.stderr.contains("failed to lock tokens in") && ran.stderr.contains(&error), "{}", ran.stderr);
    let ran = command(&mut env, "nobody", &["stats"]).await.expect(5);
    assert!(ran.stderr.contains("it does not allow the user to run"), "{}", ran.stderr);
    env.set("MONGODB_URI", &signed_in(&env, "postretry").replace(PASSWORD, "mistyped"));
    let ran = env.run(&["stats"]).await.expect(5);
    assert!(ran.stderr.contains("the user name or the password was refused"), "{}", ran.stderr);
    assert_eq!(env.sandbox.world().requests.len(), sent, "nothing was sent without the right to record it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_in_the_option_store_is_printed_neither_as_it_is_written_nor_as_it_is_meant() {
    let (_server, mut env) = guarded(&[]).await;
    let made = doc! { "createUser": "ann", "pwd": "hush/of@ann", "roles": ["dbOwner"] };
    env.database.run_command(made).await.unwrap();
    let title = "Spring hush/of@ann";
    let id = env.post("tiktok", doc! { "title": title, "error": "refused: hush%2Fof%40ann, hush/of@ann" }).await;
    let store = env.uri.replace("mongodb://", "mongodb://ann:hush%2Fof%40ann@");
    env.settings.remove("MONGODB_URI");
    for arguments in [&["list-failed"][..], &["list-failed", "--json"], &["list-failed", &id], &["run", "--dry-run"]] {
        let ran = env.run(&[&["--store", &store][..], arguments].concat()).await.expect(0);
        assert!(!ran.stdout.contains("hush") && !ran.stderr.contains("hush"), "{arguments:?}: {ran:?}");
        assert!(ran.stdout.contains("[redacted]") || arguments[0] == "run", "{arguments:?}: {ran:?}");
    }
}
