//! Marks many exhausted posts with one request, each on its own condition.

use mongodb::bson::{Bson, Document, RawArrayBuf, RawDocumentBuf, doc, rawdoc};

use super::{MongoPostStore, error, filter, identity, update};
use crate::post::Post;
use crate::store::{Marked, StoreError};

const ACTION: &str = "mark exhausted posts in";

/// How many bytes the updates of one request may have together. A server takes 16 MiB.
const REQUEST_BYTES: usize = 8 * 1024 * 1024;

/// An update as an element of a request. Encoded, because that takes a tenth of the memory.
struct Statement<'a> {
    post: &'a Post,
    update: RawDocumentBuf,
}

impl<'a> Statement<'a> {
    fn new(post: &'a Post) -> mongodb::error::Result<Self> {
        let (id, place) = identity::delivery_of(&post.id);
        let filter = filter::unchanged_since_read(id, &place, post);
        let update = doc! { "q": filter, "u": update::exhausted(&place), "hint": identity::id_index() };
        Ok(Self { post, update: RawDocumentBuf::try_from(&update)? })
    }

    fn bytes(&self) -> usize {
        self.update.as_bytes().len()
    }
}

/// Splits updates into requests that the server takes. Each has one at least.
fn requests(statements: Vec<Statement<'_>>) -> Vec<Vec<Statement<'_>>> {
    let mut requests: Vec<Vec<Statement<'_>>> = Vec::new();
    let mut bytes: usize = 0;
    for statement in statements {
        bytes = bytes.saturating_add(statement.bytes());
        match requests.last_mut() {
            Some(request) if bytes <= REQUEST_BYTES => request.push(statement),
            _ => {
                bytes = statement.bytes();
                requests.push(vec![statement]);
            }
        }
    }
    requests
}

impl MongoPostStore {
    /// Marks posts, each on its own condition.
    pub(super) async fn mark_all(&self, posts: &[Post]) -> Result<Marked, StoreError> {
        let mut marked = Marked::default();
        let statements: Result<_, _> = posts.iter().map(Statement::new).collect();
        for request in requests(statements.map_err(self.failed(ACTION))?) {
            let Marked { applied, refused } = self.mark_at_once(request).await?;
            marked.applied = marked.applied.saturating_add(applied);
            marked.refused.extend(refused);
        }
        Ok(marked)
    }

    /// The driver sends many different updates at a time only to servers of version 8, so the command is ours. The driver
    /// does not repeat it after a failover; it can be repeated, because what is marked already is left alone.
    async fn mark_at_once(&self, statements: Vec<Statement<'_>>) -> Result<Marked, StoreError> {
        let posts: Vec<&Post> = statements.iter().map(|statement| statement.post).collect();
        let mut updates = RawArrayBuf::new();
        for statement in statements {
            updates.push(statement.update);
        }
        let majority = RawDocumentBuf::try_from(&super::connection::majority_document());
        let command = rawdoc! {
            "update": self.posts.name(),
            "updates": updates,
            "ordered": false,
            "writeConcern": majority.map_err(|error| self.failed(ACTION)(error.into()))?,
        };
        let answer = match self.run(ACTION, self.database.run_raw_command(command.clone())).await {
            Ok(answer) => answer,
            Err(lost) => {
                log::debug!("marking posts once more: {lost}");
                self.run(ACTION, self.database.run_raw_command(command)).await?
            }
        };
        if let Ok(concern) = answer.get_document("writeConcernError") {
            let why = concern.get_str("errmsg").unwrap_or("no reason given");
            return Err(StoreError::new(
                format!("{ACTION} the post store at `{}`", self.address),
                format!("the write was not confirmed by a majority: {why}"),
            ));
        }
        let mut marked = Marked { applied: super::statistics::count_in(&answer, "n"), refused: Vec::new() };
        for refusal in answer.get_array("writeErrors").into_iter().flatten().filter_map(Bson::as_document) {
            let refused = self.refused_write(refusal);
            let index = refusal.get_i32("index").ok().and_then(|index| usize::try_from(index).ok());
            match index.and_then(|index| posts.get(index)) {
                Some(post) if refused.is_for_one_post() => marked.refused.push((post.id.clone(), refused)),
                _ => return Err(refused),
            }
        }
        Ok(marked)
    }

    /// What the server says of a write that it has refused.
    fn refused_write(&self, refusal: &Document) -> StoreError {
        let code = refusal.get_i32("code").unwrap_or_default();
        error::refused_document(ACTION, &self.address, code).unwrap_or_else(|| {
            let problem = format!("a write was refused (code {code})");
            StoreError::new(format!("{ACTION} the post store at `{}`", self.address), problem)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::post::PostId;
    use crate::store::mongo::stored_post_from;

    fn posts(ids: &[usize]) -> Vec<Post> {
        let read = |length: &usize| {
            let document = doc! { "_id": "x".repeat(*length), "platform": "tiktok", "status": "failed" };
            stored_post_from(&document).into_result().unwrap()
        };
        ids.iter().map(read).collect()
    }

    #[test]
    fn no_request_is_larger_than_a_server_takes() {
        let mut posts = posts(&[10; 500]);
        let sizes = |posts: &[Post]| {
            let requests = requests(posts.iter().map(|post| Statement::new(post).unwrap()).collect());
            let size = |request: &Vec<Statement<'_>>| request.iter().map(Statement::bytes).sum::<usize>();
            let counts: Vec<usize> = requests.iter().map(Vec::len).collect();
            (counts, requests.iter().map(size).max().unwrap_or(0))
        };
        let (counts, _) = sizes(&posts);
        assert_eq!(counts, [500], "one request is enough for ordinary posts");
        // What else can be large is in the condition, too.
        for (number, post) in posts.iter_mut().enumerate() {
            let long = Bson::String("x".repeat(40_000 + number));
            post.id = PostId::new("x", identity::key_of(&long));
        }
        let (counts, largest) = sizes(&posts);
        assert!(counts.len() > 1 && largest <= REQUEST_BYTES, "{counts:?} {largest}");
        assert_eq!(counts.iter().sum::<usize>(), 500);
        assert_eq!(sizes(&[]).0, Vec::<usize>::new());
    }
}
