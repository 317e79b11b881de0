//! Marks many exhausted posts with one request, each on its own condition.

use mongodb::bson::{Bson, Document, doc};

use super::{MongoPostStore, error, filter, identity, update};
use crate::post::Post;
use crate::store::{Marked, StoreError};

const ACTION: &str = "mark exhausted posts in";

impl MongoPostStore {
    /// The driver sends many different updates at a time only to servers of version 8, so the command is ours. The driver
    /// does not repeat it after a failover; it can be repeated, because what is marked already is left alone.
    pub(super) async fn mark_all(&self, posts: &[Post]) -> Result<Marked, StoreError> {
        let statement = |post: &Post| {
            let (id, place) = identity::delivery_of(&post.id);
            let filter = filter::unchanged_since_read(id, &place, post);
            doc! { "q": filter, "u": update::exhausted(&place) }
        };
        let command = doc! {
            "update": self.posts.name(),
            "updates": posts.iter().map(statement).collect::<Vec<_>>(),
            "ordered": false,
            "writeConcern": super::connection::majority_document(),
        };
        let answer = match self.run(ACTION, self.database.run_command(command.clone())).await {
            Ok(answer) => answer,
            Err(lost) => {
                log::debug!("marking posts once more: {lost}");
                self.run(ACTION, self.database.run_command(command)).await?
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
