-- Prepended to every script. An uploaded memory: KEYS[root] is its root, the keys after it are its new parts, and the
-- rest are keys to remove. ARGV[first] is the number of the root's values; the lengths of the values and of the new
-- parts in bytes follow, up to the last argument.

-- Whether all of it is here.
local function is_here(root, first)
  local values = tonumber(ARGV[first])
  for i = 1, values do
    if redis.call('HSTRLEN', KEYS[root], string.format('%.0f', i - 1)) ~= tonumber(ARGV[first + i]) then
      return false
    end
  end
  for i = values + 1, #ARGV - first do
    if redis.call('STRLEN', KEYS[root + i - values]) ~= tonumber(ARGV[first + i]) then
      return false
    end
  end
  return redis.call('HLEN', KEYS[root]) == values
end

-- Keeps all of it, and removes the rest.
local function keep(root, first)
  local last = root + #ARGV - first - tonumber(ARGV[first])
  for i = root, last do
    redis.call('PERSIST', KEYS[i])
  end
  for i = last + 1, #KEYS do
    redis.call('UNLINK', KEYS[i])
  end
end
