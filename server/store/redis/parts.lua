-- In front of every script: whether a memory's parts are all here; from ARGV[first] on are their lengths in bytes.
local function are_here(memory, first)
  for i = first, #ARGV do
    if redis.call('HSTRLEN', memory, string.format('%.0f', i - first)) ~= tonumber(ARGV[i]) then
      return false
    end
  end
  return redis.call('HLEN', memory) == #ARGV - first + 1
end
