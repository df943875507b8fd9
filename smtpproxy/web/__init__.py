"""The one web port: page, REST and live websocket. It reads the log, and knows nothing of relaying."""
