//! One question to an OpenAI-compatible endpoint (`/chat/completions`), with the four pinned parameters and a strict schema
//! (mathematics §11.1). What comes back is text that somebody else has to judge; nothing of it is logged.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

/// More of an answer is not read.
const MOST_ANSWER_BYTES: u64 = 64 << 10;
/// More of a list of models is not read.
const MOST_LISTED_BYTES: u64 = 1 << 20;

/// Where the endpoint is, and who asks.
#[derive(Clone)]
pub struct Access {
    /// Base URL, such as `https://api.openai.com/v1`.
    pub url: String,
    /// The model, or the deployment.
    pub model: String,
    /// The bearer key; empty: none.
    pub key: String,
    /// What one attempt may take.
    pub limit: Duration,
}

/// Why there is no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// It took too long.
    #[error("no answer in time")]
    TimedOut,
    /// The endpoint cannot be reached, refuses, or answers with something else.
    #[error("the endpoint gives no answer")]
    Failed,
}

/// A client of one endpoint.
pub struct Llm {
    access: Access,
    agent: ureq::Agent,
}

#[derive(Deserialize)]
struct Completion {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
}

#[derive(Deserialize)]
struct Listed {
    data: Vec<ListedModel>,
}

#[derive(Deserialize)]
struct ListedModel {
    id: String,
}

impl Llm {
    /// A client; nothing is connected yet.
    pub fn new(access: Access) -> Llm {
        // A redirect would carry key and texts elsewhere; to us it is a refusal.
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(access.limit))
            .http_status_as_error(false)
            .max_redirects(0);
        Llm { access, agent: config.build().into() }
    }

    /// Asks once: the text of the first choice, whatever it says.
    pub fn ask(&self, instruction: &str, question: &str, format: &Value) -> Result<String, AskError> {
        let body = json!({
            "model": self.access.model,
            "messages": [
                { "role": "system", "content": instruction },
                { "role": "user", "content": question },
            ],
            "temperature": 0.0,
            "top_p": 1.0,
            "max_tokens": 500,
            "seed": 42,
            "response_format": format,
        });
        let mut request =
            self.agent.post(self.at("chat/completions")).header("content-type", "application/json");
        if !self.access.key.is_empty() {
            request = request.header("authorization", self.bearer());
        }
        let mut response = request.send(body.to_string()).map_err(failure)?;
        if response.status() != 200 {
            return Err(AskError::Failed);
        }
        let read =
            response.body_mut().with_config().limit(MOST_ANSWER_BYTES).read_to_vec().map_err(failure)?;
        let completion: Completion = serde_json::from_slice(&read).map_err(|_| AskError::Failed)?;
        let first = completion.choices.into_iter().next().and_then(|choice| choice.message.content);
        first.ok_or(AskError::Failed)
    }

    /// Looks whether the endpoint is there, takes the key and knows the model (`GET /models`): what was found, or what is wrong. Costs
    /// nothing, changes nothing, and tells no secret.
    pub fn look(&self) -> Result<String, String> {
        let mut request = self.agent.get(self.at("models"));
        if !self.access.key.is_empty() {
            request = request.header("authorization", self.bearer());
        }
        let mut response = request.call().map_err(|error| match failure(error) {
            AskError::TimedOut => "no answer in time".to_string(),
            AskError::Failed => "the endpoint cannot be reached".to_string(),
        })?;
        match response.status().as_u16() {
            200 => {}
            401 | 403 => return Err("the endpoint refuses the key".into()),
            status => return Err(format!("the endpoint answers with status {status}")),
        }
        let read = response.body_mut().with_config().limit(MOST_LISTED_BYTES).read_to_vec();
        let listed: Option<Listed> = read.ok().and_then(|read| serde_json::from_slice(&read).ok());
        let is_there = listed.is_some_and(|listed| listed.data.iter().any(|one| one.id == self.access.model));
        // A deployment may go by another name than the models that are listed.
        let found =
            if is_there { "the model is there" } else { "the endpoint answers; it does not list the model" };
        Ok(found.into())
    }

    fn at(&self, path: &str) -> String {
        format!("{}/{path}", self.access.url.trim_end_matches('/'))
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.access.key)
    }
}

fn failure(error: ureq::Error) -> AskError {
    match error {
        ureq::Error::Timeout(_) => AskError::TimedOut,
        ureq::Error::Io(error) if error.kind() == std::io::ErrorKind::TimedOut => AskError::TimedOut,
        _ => AskError::Failed,
    }
}
