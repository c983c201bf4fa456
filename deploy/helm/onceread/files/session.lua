-- Which session a request is about: the one in its path, else the one that it names. What was sent under the hashed
-- name itself does not count.
function envoy_on_request(handle)
  local headers = handle:headers()
  local session = string.match(headers:get(":path"), "^/v1/sessions/([^/?]+)") or headers:get("x-session-id")
  headers:remove("x-onceread-session")
  if session then
    headers:add("x-onceread-session", session)
  end
end
