-- Single-image requests for mnist_mlp.serve, with wrk:
-- wrk -t1 -c32 -d40s --latency -s scripts/measures/serve.lua http://127.0.0.1:8501/v1/models/mnist:predict
local rows = {}
for row = 0, 27 do  -- a ring of full ink, which has as many inked pixels as a digit
    local pixels = {}
    for column = 0, 27 do
        local radius = math.sqrt((row - 13.5) ^ 2 + (column - 13.5) ^ 2)
        pixels[#pixels + 1] = math.abs(radius - 8) < 1.5 and 255 or 0
    end
    rows[#rows + 1] = "[" .. table.concat(pixels, ",") .. "]"
end
wrk.method = "POST"
wrk.body = '{"instances":[[' .. table.concat(rows, ",") .. "]]}"
wrk.headers["Content-Type"] = "application/json"
