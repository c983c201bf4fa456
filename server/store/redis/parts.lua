-- Prepended to every script: whether all parts of a memory are here, with the lengths in bytes from ARGV[first] on.
local function are_here(memory, first)
  for i = first, #ARGV do
    if redis.call('HSTRLEN', memory, string.format('%.0f', i - first)) ~= tonumber(ARGV[i]) then
      return false
    end
  end
  return redis.call('HLEN', memory) == #ARGV - first + 1
end
