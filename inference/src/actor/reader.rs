//! The asker's end of a stream of tokens: an actor that lives as long as one request.

use fleet_runtime::actor::{Actor, ActorError, Context, Message};
use tokio::sync::mpsc;
use wincode::{SchemaRead, SchemaWrite};

use crate::TokenEvent;

/// One item of a stream of tokens.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum TokenItem {
    Event(TokenEvent),
    /// From the asker to its own reader: nobody reads any more.
    Close,
}

impl Message for TokenItem {
    const KIND: &'static str = "fleet.inference.token";
}

/// Passes events on to the asker's task and ends with the last one, or when nobody reads.
pub(super) struct Reader(mpsc::Sender<TokenEvent>);

impl Actor for Reader {
    type Msg = TokenItem;
    type Args = mpsc::Sender<TokenEvent>;

    async fn start(events: Self::Args, _ctx: &Context<TokenItem>) -> Result<Self, ActorError> {
        Ok(Self(events))
    }

    async fn handle(&mut self, item: TokenItem, ctx: &Context<TokenItem>) -> Result<(), ActorError> {
        let goes_on = match item {
            TokenItem::Close => false,
            TokenItem::Event(event) => {
                let last = !matches!(event, TokenEvent::Text { .. });
                self.0.send(event).await.is_ok() && !last
            }
        };
        if !goes_on {
            ctx.stop();
        }
        Ok(())
    }
}
