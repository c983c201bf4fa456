-- The session of a request: the one in its path, else the one in X-Session-ID. The header that is hashed is removed from
-- what the client sent.
function envoy_on_request(handle)
  local headers = handle:headers()
  local session = string.match(headers:get(":path"), "^/v1/sessions/([^/?]+)") or headers:get("x-session-id")
  headers:remove("x-onceread-session")
  if session then
    headers:add("x-onceread-session", session)
  end
end
