//! Error bodies that providers really send, and what they mean.

use super::*;

/// Bodies as providers send them, shortened.
#[test]
fn errors_are_told_apart() {
    let table: &[(u16, &str, Class)] = &[
        (
            400,
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#,
            Class::Credential,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}"#,
            Class::Credential,
        ),
        (
            403,
            r#"{"error":{"code":403,"message":"Your API key was reported as leaked. Please use another API key.","status":"PERMISSION_DENIED"}}"#,
            Class::Credential,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#,
            Class::Region,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
            Class::ContextTooLong,
        ),
        (
            404,
            r#"{"error":{"code":404,"message":"models/gemini-1.5-pro is not found for API version v1beta, or is not supported for generateContent.","status":"NOT_FOUND"}}"#,
            Class::ModelGone,
        ),
        (
            503,
            r#"{"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}"#,
            Class::Transient,
        ),
        (
            429,
            r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details. * Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 10, model: gemini-2.5-flash\nPlease retry in 36.5s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"36s"}]}}"#,
            Class::RateLimited,
        ),
        (
            429,
            r#"{"error":{"code":429,"message":"You exceeded your current quota, please check your plan and billing details. * Quota exceeded for metric: generativelanguage.googleapis.com/generate_content_free_tier_requests, limit: 0, model: gemini-3-pro\nPlease retry in 36.5s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"36s"}]}}"#,
            Class::Quota,
        ),
        (
            429,
            r#"{"error":{"code":429,"message":"Your prepayment credits are depleted. Please go to AI Studio to manage your project and billing.","status":"RESOURCE_EXHAUSTED"}}"#,
            Class::Quota,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"Function call is missing a thought_signature in functionCall parts.","status":"INVALID_ARGUMENT"}}"#,
            Class::CallerFault,
        ),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}"#,
            Class::ContextTooLong,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (4096 tokens)","type":"exceed_context_size_error"}}"#,
            Class::ContextTooLong,
        ),
        (
            413,
            r#"{"error":{"message":"Request too large for model `x` on tokens per minute (TPM)","type":"tokens","code":"rate_limit_exceeded"}}"#,
            Class::ContextTooLong,
        ),
        (413, "", Class::ContextTooLong),
        (
            500,
            r#"{"error":{"message":"the prompt is too long: 9000 tokens, context window 4096"}}"#,
            Class::ContextTooLong,
        ),
        (
            400,
            r#"{"error":{"message":"Invalid 'messages[1].role'","type":"invalid_request_error"}}"#,
            Class::CallerFault,
        ),
        (
            422,
            r#"{"detail":[{"loc":["body","messages"],"msg":"field required","type":"value_error.missing"}]}"#,
            Class::CallerFault,
        ),
        (
            400,
            r#"{"object":"error","message":"[{'type': 'missing'}]","type":"BadRequestError","param":null,"code":400}"#,
            Class::CallerFault,
        ),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the API."}}"#,
            Class::Quota,
        ),
        (
            429,
            r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            Class::Quota,
        ),
        (
            429,
            r#"[{"error":{"code":429,"message":"You exceeded your current quota. Please retry in 7s.","status":"RESOURCE_EXHAUSTED"}}]"#,
            Class::RateLimited,
        ),
        (402, r#"{"error":{"message":"Insufficient credits","code":402}}"#, Class::Quota),
        (403, r#"{"error":{"message":"Key limit exceeded (total limit)","code":403}}"#, Class::Quota),
        (429, r#"{"error":"too many requests"}"#, Class::RateLimited),
        (429, "slow down", Class::RateLimited),
        (400, r#"{"error":{"message":"Request was throttled.","code":"Throttling.RateQuota"}}"#, Class::RateLimited),
        (
            401,
            r#"{"error":{"message":"Incorrect API key provided: sk-abc*******xyz","code":"invalid_api_key"}}"#,
            Class::Credential,
        ),
        (
            400,
            r#"[{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}]"#,
            Class::Credential,
        ),
        (403, r#"{"detail":"Forbidden"}"#, Class::Credential),
        (
            403,
            r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","type":"request_forbidden"}}"#,
            Class::Region,
        ),
        (400, r#"{"error":{"message":"User location is not supported for the API use."}}"#, Class::Region),
        (451, "", Class::Region),
        (
            403,
            r#"{"error":{"message":"Your input was flagged","code":403,"metadata":{"reasons":["violence"]}}}"#,
            Class::ContentRefused,
        ),
        (
            400,
            r#"{"error":{"code":"content_filter","message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy."}}"#,
            Class::ContentRefused,
        ),
        (400, r#"{"error":{"message":"Content Exists Risk","type":"invalid_request_error"}}"#, Class::ContentRefused),
        (404, r#"{"error":{"message":"The model `gpt-9` does not exist","code":"model_not_found"}}"#, Class::ModelGone),
        (404, r#"{"error":"model \"x\" not found, try pulling it first"}"#, Class::ModelGone),
        (
            400,
            r#"{"error":{"message":"The model `x` has been decommissioned","code":"model_decommissioned"}}"#,
            Class::ModelGone,
        ),
        (400, r#"{"error":{"message":"x is not a valid model ID","code":400}}"#, Class::ModelGone),
        (410, "", Class::ModelGone),
        (500, r#"{"error":{"message":"The server had an error","type":"server_error"}}"#, Class::Transient),
        (502, "<html><head><title>502 Bad Gateway</title></head></html>", Class::Transient),
        (503, r#"{"error":{"message":"rate limit of the upstream"}}"#, Class::Transient),
        (529, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Class::Transient),
        // Anthropic (platform.claude.com/docs/en/api/errors, and reports; 2026-11).
        (
            401,
            r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"},"request_id":"req_1"}"#,
            Class::Credential,
        ),
        (
            403,
            r#"{"type":"error","error":{"type":"permission_error","message":"Your API key does not have permission to use the specified resource"},"request_id":"req_1"}"#,
            Class::Credential,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"This organization has been disabled."},"request_id":"req_1"}"#,
            Class::Credential,
        ),
        (
            402,
            r#"{"type":"error","error":{"type":"billing_error","message":"Billing error"},"request_id":"req_1"}"#,
            Class::Quota,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."},"request_id":"req_1"}"#,
            Class::Quota,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."},"request_id":"req_1"}"#,
            Class::Quota,
        ),
        (
            403,
            r#"{"type":"error","error":{"type":"forbidden","message":"Access to Anthropic models is not allowed from unsupported countries, regions, or territories."},"request_id":"req_1"}"#,
            Class::Region,
        ),
        (
            404,
            r#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-opus-9"},"request_id":"req_1"}"#,
            Class::ModelGone,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 210000 tokens > 200000 maximum"},"request_id":"req_1"}"#,
            Class::ContextTooLong,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000"},"request_id":"req_1"}"#,
            Class::ContextTooLong,
        ),
        (
            413,
            r#"{"type":"error","error":{"type":"request_too_large","message":"Request exceeds the maximum allowed number of bytes."},"request_id":"req_1"}"#,
            Class::ContextTooLong,
        ),
        (
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your organization's rate limit of 40,000 input tokens per minute."},"request_id":"req_1"}"#,
            Class::RateLimited,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"},"request_id":"req_1"}"#,
            Class::ContentRefused,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.1.content.0: Invalid `signature` in `thinking` block"},"request_id":"req_1"}"#,
            Class::CallerFault,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: 200000 > 128000, which is the maximum allowed number of output tokens"},"request_id":"req_1"}"#,
            Class::CallerFault,
        ),
        (
            409,
            r#"{"type":"error","error":{"type":"conflict_error","message":"Conflict"},"request_id":"req_1"}"#,
            Class::Transient,
        ),
        (
            500,
            r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"},"request_id":"req_1"}"#,
            Class::Transient,
        ),
        (
            504,
            r#"{"type":"error","error":{"type":"timeout_error","message":"Request timed out"},"request_id":"req_1"}"#,
            Class::Transient,
        ),
        (408, "", Class::Transient),
        (409, "", Class::Transient),
        (425, "", Class::Transient),
        (405, r#"{"detail":"Method Not Allowed"}"#, Class::CallerFault),
        (501, "", Class::CallerFault),
        (307, "", Class::ModelGone),
        (
            400,
            r#"{"error":{"message":"The encrypted content gAAA... could not be verified.","type":"invalid_request_error","param":null,"code":"invalid_encrypted_content"}}"#,
            Class::Transient,
        ),
        (
            400,
            r#"{"error":{"message":"Item 'rs_1' of type 'reasoning' was provided without its required following item.","type":"invalid_request_error","param":"input","code":null}}"#,
            Class::CallerFault,
        ),
        (
            400,
            r#"{"error":{"message":"No tool output found for function call call_t1c1.","type":"invalid_request_error","param":"input","code":null}}"#,
            Class::CallerFault,
        ),
        (
            400,
            r#"{"error":{"message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy.","type":"invalid_request_error","code":"invalid_prompt"}}"#,
            Class::ContentRefused,
        ),
        (
            400,
            r#"{"error":{"message":"Your input exceeds the context window of this model. Please adjust your input and try again.","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}"#,
            Class::ContextTooLong,
        ),
    ];
    for (status, body, class) in table {
        let failure = of_response(*status, None, body.as_bytes());
        assert_eq!((failure.class, failure.status), (*class, Some(*status)), "{status} {body}");
    }
}

/// A row a kind of error, as the providers of the OpenAI chat format send it (their documentation and bodies quoted in issue
/// threads, 2026-11; names and ids changed).
#[test]
fn errors_of_each_provider() {
    use Class::{
        CallerFault, ContentRefused, ContextTooLong, Credential, MalformedAnswer, ModelGone, Quota, RateLimited,
        Region, Transient,
    };
    type Rows<'a> = &'a [(u16, &'a str, Class)];
    let table: &[(&str, Rows<'_>)] = &[
        (
            "openai",
            &[
                (
                    401,
                    r#"{"error":{"message":"Incorrect API key provided: sk-abc***xyz. You can find your API key at https://platform.openai.com/account/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                    Credential,
                ),
                (
                    401,
                    r#"{"error":{"message":"You must be a member of an organization to use the API","type":"invalid_request_error","param":null,"code":null}}"#,
                    Credential,
                ),
                (
                    403,
                    r#"{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","param":null,"type":"request_forbidden"}}"#,
                    Region,
                ),
                (
                    429,
                    r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
                    Quota,
                ),
                (
                    429,
                    r#"{"error":{"message":"Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Used 29500, Requested 1100. Please try again in 1.2s.","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
                    RateLimited,
                ),
                (
                    404,
                    r#"{"error":{"message":"The model `gpt-x` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"error":{"message":"This model's maximum context length is 128000 tokens. However, your messages resulted in 128500 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                    ContextTooLong,
                ),
                (
                    400,
                    r#"{"error":{"message":"Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
                    CallerFault,
                ),
                (
                    400,
                    r#"{"error":{"message":"Invalid prompt: your prompt was flagged as potentially violating our usage policy.","type":"invalid_request_error","param":null,"code":"invalid_prompt"}}"#,
                    ContentRefused,
                ),
                (
                    500,
                    r#"{"error":{"message":"The server had an error while processing your request. Sorry about that!","type":"server_error","param":null,"code":null}}"#,
                    Transient,
                ),
                (
                    503,
                    r#"{"error":{"message":"That model is currently overloaded with other requests.","type":"server_error","param":null,"code":null}}"#,
                    Transient,
                ),
            ],
        ),
        (
            "azure",
            &[
                (
                    401,
                    r#"{"error":{"code":"401","message":"Access denied due to invalid subscription key or wrong API endpoint."}}"#,
                    Credential,
                ),
                (
                    401,
                    r#"{"statusCode":401,"message":"Unauthorized. Access token is missing, invalid, audience is incorrect, or have expired."}"#,
                    Credential,
                ),
                (
                    404,
                    r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment for this resource does not exist."}}"#,
                    ModelGone,
                ),
                (
                    429,
                    r#"{"error":{"code":"429","message":"Requests to the ChatCompletions_Create Operation under Azure OpenAI API have exceeded token rate limit of your current OpenAI S0 pricing tier. Please retry after 26 seconds."}}"#,
                    RateLimited,
                ),
                (
                    400,
                    r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","type":null,"param":"prompt","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#,
                    ContentRefused,
                ),
                (
                    500,
                    r#"{"error":{"code":"InternalServerError","message":"Backend returned unexpected response."}}"#,
                    Transient,
                ),
            ],
        ),
        (
            "openrouter",
            &[
                (401, r#"{"error":{"message":"No auth credentials found","code":401}}"#, Credential),
                (
                    402,
                    r#"{"error":{"message":"This request requires more credits, or fewer max_tokens. You requested up to 8192 tokens, but can only afford 1024.","code":402}}"#,
                    Quota,
                ),
                (
                    403,
                    r#"{"error":{"message":"acme/model requires moderation on Acme. Your input was flagged for \"violence\". No credits were charged.","code":403,"metadata":{"reasons":["violence"],"flagged_input":"…"}}}"#,
                    ContentRefused,
                ),
                (404, r#"{"error":{"message":"No endpoints found that support tool use.","code":404}}"#, ModelGone),
                (408, r#"{"error":{"message":"Request timed out","code":408}}"#, Transient),
                (
                    429,
                    r#"{"error":{"message":"Provider returned error","code":429,"metadata":{"raw":"acme/model:free is temporarily rate-limited upstream. Please retry shortly.","provider_name":"Acme"}}}"#,
                    RateLimited,
                ),
                (
                    429,
                    r#"{"error":{"message":"Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day","code":429}}"#,
                    RateLimited,
                ),
                (
                    400,
                    r#"{"error":{"message":"This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens.","code":400}}"#,
                    ContextTooLong,
                ),
                (502, r#"{"error":{"message":"Provider disconnected","code":502}}"#, Transient),
                (
                    503,
                    r#"{"error":{"message":"There is no available model provider that meets your routing requirements","code":503}}"#,
                    Transient,
                ),
            ],
        ),
        (
            "mistral",
            &[
                (401, r#"{"message":"Unauthorized","request_id":"x"}"#, Credential),
                (
                    400,
                    r#"{"object":"error","message":"Invalid model: mistral-x","type":"invalid_model","param":null,"code":"1500"}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"object":"error","message":"Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length","type":"invalid_request_prompt","param":null,"code":"3051"}"#,
                    ContextTooLong,
                ),
                (
                    400,
                    r#"{"object":"error","message":"Not the same number of function calls and responses","type":"invalid_request_error","param":null,"code":null}"#,
                    CallerFault,
                ),
                (
                    422,
                    r#"{"object":"error","message":{"detail":[{"type":"extra_forbidden","loc":["body","x"],"msg":"Extra inputs are not permitted"}]},"type":"invalid_request_error","param":null,"code":null}"#,
                    CallerFault,
                ),
                (429, r#"{"message":"Requests rate limit exceeded"}"#, RateLimited),
                (
                    429,
                    r#"{"object":"error","message":"Service tier capacity exceeded for this model.","type":"service_tier_capacity_exceeded","param":null,"code":"3505"}"#,
                    RateLimited,
                ),
                (
                    503,
                    r#"{"object":"error","message":"Service unavailable.","type":"unreachable_backend","param":null,"code":"1100"}"#,
                    Transient,
                ),
            ],
        ),
        (
            "deepseek",
            &[
                (
                    401,
                    r#"{"error":{"message":"Authentication Fails (no such user)","type":"authentication_error","param":null,"code":"invalid_request_error"}}"#,
                    Credential,
                ),
                (
                    402,
                    r#"{"error":{"message":"Insufficient Balance","type":"unknown_error","param":null,"code":"invalid_request_error"}}"#,
                    Quota,
                ),
                (
                    400,
                    r#"{"error":{"message":"Model Not Exist","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"error":{"message":"Content Exists Risk","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
                    ContentRefused,
                ),
                (
                    400,
                    r#"{"error":{"message":"This model's maximum context length is 131072 tokens. However, you requested 140000 tokens.","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
                    ContextTooLong,
                ),
                (
                    422,
                    r#"{"error":{"message":"Failed to deserialize the JSON body into the target type","type":"invalid_request_error","param":null,"code":"invalid_request_error"}}"#,
                    CallerFault,
                ),
                (
                    503,
                    r#"{"error":{"message":"Service is too busy. We advise users to temporarily switch to alternative LLM API service providers.","type":"service_unavailable_error"}}"#,
                    Transient,
                ),
            ],
        ),
        (
            "xai",
            &[
                (
                    400,
                    r#"{"code":"Client specified an invalid argument","error":"Incorrect API key provided: xa***yz. You can obtain an API key from https://console.x.ai."}"#,
                    Credential,
                ),
                (
                    403,
                    r#"{"code":"The caller does not have permission to execute the specified operation","error":"Your newly created team doesn't have any credits yet. You can purchase credits on https://console.x.ai."}"#,
                    Quota,
                ),
                (
                    429,
                    r#"{"code":"Some resource has been exhausted","error":"Your team x has either used all available credits or reached its monthly spending limit."}"#,
                    Quota,
                ),
                (
                    429,
                    r#"{"code":"Some resource has been exhausted","error":"Too many requests for team x and model grok-x. Your team's rate limit is: 1 request per second."}"#,
                    RateLimited,
                ),
                (
                    404,
                    r#"{"code":"Some requested entity was not found","error":"The model grok-x does not exist or your team does not have access to it."}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"code":"Client specified an invalid argument","error":"This model's maximum prompt length is 131072 but the request contains 150000 tokens."}"#,
                    ContextTooLong,
                ),
                (
                    403,
                    r#"{"code":"The caller does not have permission to execute the specified operation","error":"Content violates usage guidelines. Failed check: SAFETY_CHECK_TYPE_X"}"#,
                    ContentRefused,
                ),
                (
                    400,
                    r#"{"code":"Client specified an invalid argument","error":"Invalid request content: Each message must have at least one content element."}"#,
                    CallerFault,
                ),
            ],
        ),
        (
            "groq",
            &[
                (
                    401,
                    r#"{"error":{"message":"Invalid API Key","type":"invalid_request_error","code":"invalid_api_key"}}"#,
                    Credential,
                ),
                (
                    400,
                    r#"{"error":{"message":"Organization has been restricted. Please reach out to support.","type":"invalid_request_error","code":"organization_restricted"}}"#,
                    Credential,
                ),
                (
                    400,
                    r#"{"error":{"message":"The model `x` has been decommissioned and is no longer supported.","type":"invalid_request_error","code":"model_decommissioned"}}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"error":{"message":"Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"<function=f>{"}}"#,
                    MalformedAnswer,
                ),
                (
                    400,
                    r#"{"error":{"message":"Failed to generate JSON. Please adjust your prompt.","type":"invalid_request_error","code":"json_validate_failed"}}"#,
                    MalformedAnswer,
                ),
                (
                    400,
                    r#"{"error":{"message":"Please reduce the length of the messages or completion.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
                    ContextTooLong,
                ),
                (
                    413,
                    r#"{"error":{"message":"Request too large for model `x` in organization `org` service tier `on_demand` on tokens per minute (TPM): Limit 6000, Requested 12000, please reduce your message size and try again.","type":"tokens","code":"rate_limit_exceeded"}}"#,
                    ContextTooLong,
                ),
                (
                    429,
                    r#"{"error":{"message":"Rate limit reached for model `x` in organization `org` on tokens per day (TPD): Limit 100000, Used 99500, Requested 1500. Please try again in 14m24s.","type":"tokens","code":"rate_limit_exceeded"}}"#,
                    RateLimited,
                ),
                (498, r#"{"error":{"message":"Flex tier capacity exceeded","type":"capacity_exceeded"}}"#, RateLimited),
                (503, r#"{"error":{"message":"Service unavailable","type":"internal_server_error"}}"#, Transient),
            ],
        ),
        (
            "together",
            &[
                (
                    401,
                    r#"{"id":"x","error":{"message":"Invalid API key provided. You can find your API key at https://api.together.ai/settings/api-keys.","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
                    Credential,
                ),
                (
                    403,
                    r#"{"error":{"message":"Credit limit exceeded, please navigate to the billing page to upgrade.","type":"credit_limit","param":null,"code":null}}"#,
                    Quota,
                ),
                (
                    404,
                    r#"{"error":{"message":"Unable to access model acme/x. Please visit the list of supported models.","type":"invalid_request_error","param":null,"code":"model_not_available"}}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"error":{"message":"Unable to access non-serverless model acme/x.","type":"invalid_request_error","param":null,"code":"model_not_available"}}"#,
                    ModelGone,
                ),
                (
                    422,
                    r#"{"error":{"message":"Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`","type":"invalid_request_error","param":null,"code":null}}"#,
                    ContextTooLong,
                ),
                (
                    429,
                    r#"{"error":{"message":"You have reached the rate limit specific to this model acme/x.","type":"model_rate_limit","param":null,"code":null}}"#,
                    RateLimited,
                ),
                (
                    503,
                    r#"{"error":{"message":"The server is overloaded or not ready yet.","type":"service_unavailable","param":null,"code":null}}"#,
                    Transient,
                ),
            ],
        ),
        (
            "fireworks",
            &[
                (
                    401,
                    r#"{"error":{"object":"error","type":"invalid_request_error","code":"invalid_request_error","message":"The API key you provided is invalid."}}"#,
                    Credential,
                ),
                (
                    404,
                    r#"{"error":{"object":"error","type":"invalid_request_error","code":"invalid_request_error","message":"Model not found, inaccessible, and/or not deployed"}}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"error":{"object":"error","type":"invalid_request_error","code":"invalid_request_error","message":"The prompt is too long: 140000, model maximum context length: 131071"}}"#,
                    ContextTooLong,
                ),
                (
                    412,
                    r#"{"error":{"object":"error","type":"invalid_request_error","code":"invalid_request_error","message":"Account x is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices."}}"#,
                    Quota,
                ),
                (
                    429,
                    r#"{"error":{"object":"error","type":"rate_limit_error","code":"rate_limit_exceeded","message":"Request didn't generate first token before the given deadline"}}"#,
                    RateLimited,
                ),
                (
                    503,
                    r#"{"error":{"object":"error","type":"internal_server_error","code":"service_unavailable","message":"Service overloaded"}}"#,
                    Transient,
                ),
            ],
        ),
        (
            "cerebras",
            &[
                (
                    401,
                    r#"{"message":"Wrong API Key","type":"invalid_request_error","param":"api_key","code":"wrong_api_key"}"#,
                    Credential,
                ),
                (
                    402,
                    r#"{"message":"Payment required to access this resource.","type":"payment_required_error","param":"quota","code":"payment_required"}"#,
                    Quota,
                ),
                (
                    404,
                    r#"{"message":"Model x does not exist or you do not have access to it.","type":"not_found_error","param":"model","code":"model_not_found"}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"message":"Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}"#,
                    ContextTooLong,
                ),
                (
                    429,
                    r#"{"message":"Requests per minute limit exceeded - too many requests sent.","type":"too_many_requests_error","param":"quota","code":"request_quota_exceeded"}"#,
                    RateLimited,
                ),
                (
                    429,
                    r#"{"message":"Tokens per day limit exceeded - too many tokens processed.","type":"too_many_tokens_error","param":"quota","code":"token_quota_exceeded"}"#,
                    RateLimited,
                ),
                (
                    429,
                    r#"{"message":"We're experiencing high traffic right now! Please try again soon.","type":"too_many_requests_error","param":"queue","code":"queue_exceeded"}"#,
                    RateLimited,
                ),
                (
                    500,
                    r#"{"message":"Encountered a server error, please try again.","type":"server_error","param":"","code":""}"#,
                    Transient,
                ),
            ],
        ),
        (
            "bedrock",
            &[
                (403, r#"{"message":"The security token included in the request is invalid."}"#, Credential),
                (403, r#"{"Message":"Invalid API Key format: Must start with pre-defined prefix"}"#, Credential),
                (403, r#"{"message":"You don't have access to the model with the specified model ID."}"#, ModelGone),
                (400, r#"{"message":"The provided model identifier is invalid."}"#, ModelGone),
                (
                    400,
                    r#"{"message":"Invocation of model ID x with on-demand throughput isn't supported. Retry your request with the ID or ARN of an inference profile that contains this model."}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"error":{"code":"validation_error","message":"model `x` isn't supported on this route","type":"invalid_request_error"}}"#,
                    ModelGone,
                ),
                (400, r#"{"message":"Input is too long for requested model."}"#, ContextTooLong),
                (
                    400,
                    r#"{"__type":"ServiceQuotaExceededException","message":"Your account has reached a limit of the service."}"#,
                    Quota,
                ),
                (
                    400,
                    r#"{"__type":"ValidationException","message":"Malformed input request, please reformat your input and try again."}"#,
                    CallerFault,
                ),
                (
                    429,
                    r#"{"__type":"ThrottlingException","message":"Too many tokens, please wait before trying again."}"#,
                    RateLimited,
                ),
                (
                    503,
                    r#"{"__type":"ServiceUnavailableException","message":"The service is temporarily unavailable."}"#,
                    Transient,
                ),
            ],
        ),
        (
            "ollama",
            &[
                (
                    404,
                    r#"{"error":{"message":"model \"x\" not found, try pulling it first","type":"api_error","param":null,"code":null}}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"error":{"message":"registry.ollama.ai/library/x:2b does not support tools","type":"api_error","param":null,"code":null}}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"error":{"message":"json: cannot unmarshal string into Go struct field","type":"invalid_request_error","param":null,"code":null}}"#,
                    CallerFault,
                ),
                (
                    500,
                    r#"{"error":{"message":"model requires more system memory (8.4 GiB) than is available (5.6 GiB)","type":"api_error","param":null,"code":null}}"#,
                    Transient,
                ),
                (503, r#"{"error":"server busy, please try again.  maximum pending requests exceeded"}"#, Transient),
            ],
        ),
        (
            "llama.cpp",
            &[
                (
                    401,
                    r#"{"error":{"code":401,"message":"Invalid API Key","type":"authentication_error"}}"#,
                    Credential,
                ),
                (
                    400,
                    r#"{"error":{"code":400,"message":"request (9000 tokens) exceeds the available context size (4096 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":4096}}"#,
                    ContextTooLong,
                ),
                (
                    500,
                    r#"{"error":{"code":500,"message":"tools param requires --jinja flag","type":"server_error"}}"#,
                    ModelGone,
                ),
                (
                    500,
                    r#"{"error":{"code":500,"message":"failed to parse grammar","type":"server_error"}}"#,
                    CallerFault,
                ),
                (
                    500,
                    r#"{"error":{"code":500,"message":"Failed to parse messages: Missing 'content'","type":"server_error"}}"#,
                    Transient,
                ),
                (503, r#"{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}"#, Transient),
            ],
        ),
        (
            "lm studio",
            &[
                (
                    400,
                    r#"{"error":"Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough."}"#,
                    ContextTooLong,
                ),
                (
                    400,
                    r#"{"error":"No models loaded. Please load a model in the developer page or use the `lms load` command."}"#,
                    ModelGone,
                ),
                (
                    404,
                    r#"{"error":{"message":"Model \"x\" not found","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#,
                    ModelGone,
                ),
                (400, r#"{"error":"'messages' field is required"}"#, CallerFault),
            ],
        ),
        (
            "vllm",
            &[
                (401, r#"{"error":"Unauthorized"}"#, Credential),
                (
                    404,
                    r#"{"error":{"message":"The model `x` does not exist.","type":"NotFoundError","param":"model","code":404}}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens in the messages, Please reduce the length of the messages.","type":"BadRequestError","param":null,"code":400}"#,
                    ContextTooLong,
                ),
                (
                    400,
                    r#"{"error":{"message":"\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set","type":"BadRequestError","param":null,"code":400}}"#,
                    ModelGone,
                ),
                (
                    400,
                    r#"{"object":"error","message":"[{'type': 'missing', 'loc': ('body', 'messages')}]","type":"BadRequestError","param":null,"code":400}"#,
                    CallerFault,
                ),
                (
                    500,
                    r#"{"error":{"message":"EngineCore encountered an issue.","type":"InternalServerError","param":null,"code":500}}"#,
                    Transient,
                ),
            ],
        ),
    ];
    for (provider, rows) in table {
        for (status, body, class) in *rows {
            let failure = of_response(*status, None, body.as_bytes());
            assert_eq!((failure.class, failure.status), (*class, Some(*status)), "{provider}: {status} {body}");
        }
    }
}

#[test]
fn waits_are_found_in_bodies() {
    let table: &[(u16, &str, Option<Duration>)] = &[
        (
            429,
            r#"{"error":{"message":"Rate limit reached. Please try again in 1.2s. Visit us.","code":"rate_limit_exceeded"}}"#,
            Some(Duration::from_millis(1200)),
        ),
        (
            429,
            r#"{"error":{"message":"Rate limit reached. Please try again in 450ms.","code":"rate_limit_exceeded"}}"#,
            Some(Duration::from_millis(450)),
        ),
        (
            429,
            r#"{"error":{"message":"Please try again in 7m12.5s.","code":"rate_limit_exceeded"}}"#,
            Some(Duration::from_millis(432_500)),
        ),
        (
            429,
            r#"{"error":{"message":"Please try again in 6m0s.","code":"rate_limit_exceeded"}}"#,
            Some(Duration::from_secs(360)),
        ),
        (
            429,
            r#"{"error":{"code":"429","message":"Please retry after 26 seconds. To increase it, ask."}}"#,
            Some(Duration::from_secs(26)),
        ),
        (429, r#"{"error":{"code":"429","message":"Please retry after 1 day."}}"#, Some(Duration::from_secs(86_400))),
        (
            429,
            r#"{"error":{"code":429,"message":"Please retry in 34.07s.","status":"RESOURCE_EXHAUSTED"}}"#,
            Some(Duration::from_millis(34_070)),
        ),
        (
            429,
            r#"[{"error":{"code":429,"message":"Quota exceeded.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.Help"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34s"}]}}]"#,
            Some(Duration::from_secs(34)),
        ),
        (503, r#"{"error":{"message":"Overloaded; try again in 20 s"}}"#, Some(Duration::from_secs(20))),
        (429, r#"{"error":{"message":"Please try again in 30"}}"#, Some(Duration::from_secs(30))),
        (429, r#"{"error":{"message":"Please try again in a while."}}"#, None),
        (429, r#"{"error":{"message":"Please try again in -5s."}}"#, None),
        (429, r#"{"error":{"message":"Please try again later."}}"#, None),
        // Waiting does not help there.
        (401, r#"{"error":{"message":"Wrong key; try again in 5s"}}"#, None),
    ];
    for (status, body, expected) in table {
        assert_eq!(of_response(*status, None, body.as_bytes()).retry_after, *expected, "{body}");
    }
    let told = Some(Duration::from_secs(9));
    assert_eq!(of_response(429, told, table[0].1.as_bytes()).retry_after, told, "the header is preferred");
}

#[test]
fn errors_inside_an_answer_are_told_apart() {
    let table: &[(&str, Class, u16)] = &[
        (r#"{"error":{"code":502,"message":"Provider disconnected"},"choices":[]}"#, Class::Transient, 502),
        (r#"{"error":{"code":429,"message":"slow"}}"#, Class::RateLimited, 429),
        (r#"{"error":{"code":"429","message":"slow"}}"#, Class::RateLimited, 429),
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#, Class::Transient, 200),
        (r#"{"error":{"type":"invalid_request_error","message":"bad"}}"#, Class::CallerFault, 200),
        (r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#, Class::RateLimited, 200),
        (r#"{"type":"error","error":{"type":"authentication_error","message":"expired"}}"#, Class::Credential, 200),
        (r#"{"type":"error","error":{"type":"permission_error","message":"no"}}"#, Class::Credential, 200),
        (r#"{"type":"error","error":{"type":"billing_error","message":"empty"}}"#, Class::Quota, 200),
        (r#"{"type":"error","error":{"type":"not_found_error","message":"model: x"}}"#, Class::ModelGone, 200),
        (r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#, Class::Transient, 200),
        (r#"{"type":"error","error":{"type":"timeout_error","message":"late"}}"#, Class::Transient, 200),
        (r#"{"error":"out of memory"}"#, Class::Transient, 200),
        (r#"{"detail":"not here"}"#, Class::Transient, 200),
        (r#"{"object":"error","message":"x is not a valid model","code":404}"#, Class::ModelGone, 404),
        (r#"{"message":"Too Many Requests","status":429}"#, Class::RateLimited, 429),
        (r#"{"error":{"message":"x","metadata":{"raw":"context length exceeded"}}}"#, Class::ContextTooLong, 200),
    ];
    for (body, class, status) in table {
        let value = serde_json::from_str(body).unwrap();
        assert!(is_error(&value), "{body}");
        let failure = of_value(&value);
        assert_eq!((failure.class, failure.status), (*class, Some(*status)), "{body}");
    }
    for body in [
        r#"{"choices":[],"error":null}"#,
        r#"{"choices":[],"error":""}"#,
        r#"{"choices":[],"error":{}}"#,
        r#"{"choices":[],"message":"x","code":"y"}"#,
        r#"{"type":"ping"}"#,
        r#"{"id":"x","usage":{}}"#,
    ] {
        assert!(!is_error(&serde_json::from_str(body).unwrap()), "{body}");
    }
}

#[test]
fn messages_are_one_bounded_line_without_keys() {
    let message = |body: &str| of_response(401, None, body.as_bytes()).message;
    assert_eq!(message(""), "HTTP 401");
    assert_eq!(
        message(r#"{"error":{"message":"bad key: sk-abcdefghijklmnop,\n\u001b[31mred"}}"#),
        "HTTP 401: bad key: [key] [31mred"
    );
    assert_eq!(message("<HTML><Title>Login</title>"), r#"HTTP 401: an HTML page, "Login""#);
    assert_eq!(
        message(r#"{"error":{"message":"a task-oriented ask-me-anything"}}"#),
        "HTTP 401: a task-oriented ask-me-anything"
    );
    let long = message(&format!("{{\"error\":\"{}\"}}", "ä".repeat(5000)));
    assert!(long.len() <= MESSAGE_BYTES_MAX && long.ends_with('…'), "{long}");
    let failure = failure(Class::Transient, "key s3cret refused").discarding("s3cret").without("s3cret");
    assert_eq!((failure.message.as_str(), failure.discarded.as_str()), ("key [key] refused", "[key]"));
}

/// How each vendor and server reports a request that is too long for the model (documentation, source and issue threads of each,
/// 2026-11; numbers changed).
#[test]
fn a_request_that_is_too_long_is_recognized_in_each_wording() {
    let table: &[(u16, &str)] = &[
        // OpenAI and Azure.
        (
            400,
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens (8000 in the messages, 1000 in the functions). Please reduce the length of the messages or functions.",
        ),
        (
            400,
            "This model's maximum context length is 4097 tokens, however you requested 5000 tokens (4000 in your prompt; 1000 for the completion). Please reduce your prompt; or completion length.",
        ),
        (400, "Your input exceeds the context window of this model. Please adjust your input and try again."),
        (
            400,
            "Invalid 'input': string too long. Expected a string with maximum length 10485760, but got a string with length 12000000 instead.",
        ),
        (
            400,
            "Invalid 'messages[1].content': string too long. Expected a string with maximum length 1048576, but got a string with length 1548576 instead.",
        ),
        (
            429,
            "Request too large for gpt-5 in organization org-x on tokens per min (TPM): Limit 30000, Requested 41000. The input or output tokens must be reduced in order to run successfully.",
        ),
        // GitHub Models and Copilot.
        (400, "Request body too large for gpt-4o model. Max size: 8000 tokens."),
        (400, "prompt token count of 132304 exceeds the limit of 128000"),
        // Anthropic, Bedrock, Vertex.
        (400, "prompt is too long: 210000 tokens > 200000 maximum"),
        (
            400,
            "input length and `max_tokens` exceed context limit: 190000 + 32000 > 200000, decrease input length or `max_tokens` and try again",
        ),
        (400, "Input is too long for requested model."),
        (400, "Too many input tokens. Max input tokens: 8192, request input token count: 9000"),
        (
            400,
            "Input Tokens Exceeded: Number of input tokens exceeds maximum length. Please update the input to try again.",
        ),
        // Gemini.
        (400, "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
        (
            400,
            "Unable to submit request because the input token count is 32825 but model only supports up to 32768. Reduce the input token count and try again.",
        ),
        (400, "Request payload size exceeds the limit: 20971520 bytes."),
        // Mistral, DeepSeek, xAI.
        (400, "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length"),
        (
            400,
            "This model's maximum context length is 131072 tokens. However, you requested 140000 tokens (131808 in the messages, 8192 in the completion). Please reduce the length of the messages or completion.",
        ),
        (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens."),
        // Kimi, Z.AI, Qwen, MiniMax.
        (400, "Invalid request: Your request exceeded model token limit: 8192 (requested: 9120)"),
        (400, "Input token length too long"),
        (400, "Prompt exceeds max length"),
        (400, "tokens in request more than max tokens allowed"),
        (400, "Prompt 超长"),
        (400, "输入内容的长度超过了模型的上下文限制"),
        (400, "<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]"),
        (400, "invalid params, context window exceeds limit (2013)"),
        // Cohere, Perplexity, watsonx.
        (
            400,
            "too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 4292. Try using a shorter prompt, or enabling prompt truncating.",
        ),
        (
            400,
            "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs. The limit for this model is 132000 tokens.",
        ),
        (400, "The total length of all messages is too long."),
        (400, "the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model"),
        // Groq, Together, Fireworks, Cerebras, SambaNova, Anyscale.
        (400, "Please reduce the length of the messages or completion."),
        (400, "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192"),
        (
            422,
            "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens and 512 `max_new_tokens`",
        ),
        (400, "The prompt is too long: 9000, model maximum context length: 8192"),
        (
            400,
            "Input too long: The number of tokens in the input exceeds the maximum allowed length of 4096 tokens. Please reduce the input size.",
        ),
        // OpenRouter.
        (
            400,
            "This endpoint's maximum context length is 32768 tokens. However, you requested about 42832 tokens (32832 of text input, 10000 in the output). Please reduce the length of either one, or use the \"middle-out\" transform to compress your prompt automatically.",
        ),
        // vLLM, SGLang, TGI.
        (
            400,
            "This model's maximum context length is 8192 tokens. However, your request has 9000 input tokens. Please reduce the length of the input messages.",
        ),
        (
            400,
            "The decoder prompt (length 9000) is longer than the maximum model length of 8192. Make sure that `max_model_len` is no smaller than the number of text tokens.",
        ),
        (400, "The input (9120 tokens) is longer than the model's context length (8192 tokens)."),
        (
            400,
            "Requested token count exceeds the model's maximum context length of 202752 tokens. You requested a total of 202941 tokens: 170941 tokens from the input messages and 32000 tokens for the completion.",
        ),
        (400, "Input length (9000 tokens) exceeds the maximum allowed length (8192 tokens)"),
        (422, "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000"),
        // llama.cpp, Ollama, LM Studio, RKLLM and others on the own machine.
        (
            400,
            "the request exceeds the available context size. try increasing the context size or enable context shift",
        ),
        (500, "input is too large to process. increase the physical batch size"),
        (400, "prompt too long; exceeded max context length by 4 tokens"),
        (400, "the input length exceeds the context length"),
        (
            400,
            "The number of tokens to keep from the initial prompt is greater than the context length. Try to load the model with a larger context length, or provide a shorter input",
        ),
        (400, "Prompt is 9120 tokens but the model context window is 8192 tokens."),
        (400, "Prompt too long: 5152 tokens exceeds max_seq_len 2048 (leave room for output tokens)"),
        (400, "Input length of input_ids is 2061, but `max_length` is set to 2048"),
        (400, "maximum text length exceeded"),
    ];
    let codes = [
        (400, r#"{"error":{"code":"1261","message":"x"}}"#),
        (400, r#"{"error":{"code":"model_max_prompt_tokens_exceeded","message":"x"}}"#),
        (400, r#"{"error":{"code":"context_length_exceeded","message":"x"}}"#),
        (413, r#"{"error":{"code":"tokens_limit_reached","message":"x"}}"#),
        (413, "<html><title>413 Request Entity Too Large</title></html>"),
    ];
    let bodies =
        table.iter().map(|(status, text)| (*status, serde_json::json!({"error": {"message": text}}).to_string()));
    for (status, body) in bodies.chain(codes.map(|(status, body)| (status, body.to_owned()))) {
        assert_eq!(of_response(status, None, body.as_bytes()).class, Class::ContextTooLong, "{status} {body}");
    }
}

/// The same words about something else: a limit by time, a bound on the output, a name that is too long.
#[test]
fn other_limits_are_not_taken_for_a_request_that_is_too_long() {
    use Class::{CallerFault, Quota, RateLimited, Transient};
    let table: &[(u16, &str, Class)] = &[
        (429, "Too many tokens, please wait before trying again.", RateLimited),
        (429, "Tokens per minute limit exceeded - too many tokens processed.", RateLimited),
        (
            429,
            "This request would exceed your organization's rate limit of 40,000 input tokens per minute.",
            RateLimited,
        ),
        (
            429,
            "Rate limit reached for model `x` on tokens per minute (TPM): Limit 6000, Used 5000, Requested 3000.",
            RateLimited,
        ),
        (
            429,
            "Requests to the ChatCompletions_Create operation have exceeded the token rate limit of your current pricing tier. Please retry after 6 seconds.",
            RateLimited,
        ),
        (429, "Your monthly token limit is exceeded.", Quota),
        (
            400,
            "max_tokens is too large: 40000. This model supports at most 16384 completion tokens, whereas you provided 40000.",
            CallerFault,
        ),
        (400, "max_tokens: 200000 > 128000, which is the maximum allowed number of output tokens", CallerFault),
        (
            400,
            "'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 8192 tokens and your request has 500 input tokens (32000 > 8192 - 500).",
            CallerFault,
        ),
        (
            400,
            "too many tokens: max tokens must be less than or equal to 4096, the maximum output length for this model - received 5000.",
            CallerFault,
        ),
        (400, "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", CallerFault),
        (400, "Range of max_tokens should be [1, 8192]", CallerFault),
        (
            400,
            "Unable to submit request because it has a maxOutputTokens value of 9000 but the supported range is from 1 (inclusive) to 8193 (exclusive).",
            CallerFault,
        ),
        (400, "`max_tokens` must be greater than `thinking.budget_tokens`.", CallerFault),
        (422, "Input validation error: `max_new_tokens` must be <= 512. Given: 1000", CallerFault),
        (
            400,
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value >= 16, but got 4 instead.",
            CallerFault,
        ),
        (
            400,
            "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a string with length 64 instead.",
            CallerFault,
        ),
        (
            400,
            "Invalid 'tools[0].function.description': string too long. Expected a string with maximum length 1024, but got a string with length 2000 instead.",
            CallerFault,
        ),
        (
            400,
            "Invalid 'tools': array too long. Expected an array with maximum length 128, but got an array with length 130 instead.",
            CallerFault,
        ),
        (
            400,
            "Invalid 'messages': array too long. Expected an array with maximum length 2048, but got an array with length 3000 instead.",
            CallerFault,
        ),
        (
            400,
            "Invalid 'prompt_cache_key': string too long. Expected a string with maximum length 64, but got a string with length 80 instead.",
            CallerFault,
        ),
        (
            400,
            "messages.0.content.0.image.source.base64: image exceeds 5 MB maximum: 6000000 bytes > 5242880 bytes",
            CallerFault,
        ),
        (400, "A maximum of 4 blocks with cache_control may be provided. Found 5.", CallerFault),
        (400, "Too many stop sequences: at most 4 are supported.", CallerFault),
        (500, "rpc error: the request failed: context deadline exceeded", Transient),
        (503, "server busy, please try again. maximum pending requests exceeded", Transient),
        (503, "The request queue is too long.", Transient),
        (500, "model requires more system memory (8.4 GiB) than is available (5.6 GiB)", Transient),
    ];
    for (status, text, class) in table {
        let body = serde_json::json!({"error": {"message": text}}).to_string();
        assert_eq!(of_response(*status, None, body.as_bytes()).class, *class, "{status} {text}");
    }
}

/// A limit that lasts is no rate limit, whatever it is called; one that comes back within the hour is, also that of a plan.
#[test]
fn a_quota_that_lasts_is_told_with_its_reset() {
    use Class::{Quota, RateLimited};
    let seconds = Duration::from_secs;
    type Row<'a> = (u16, Option<Duration>, &'a str, Class, Option<Duration>);
    let table: &[Row<'_>] = &[
        (
            429,
            None,
            r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"team","resets_in_seconds":259200}}"#,
            Quota,
            Some(seconds(259_200)),
        ),
        (
            429,
            None,
            r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached"}}"#,
            Quota,
            None,
        ),
        (
            429,
            None,
            r#"{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","resets_in_seconds":90}}"#,
            RateLimited,
            Some(seconds(90)),
        ),
        (
            429,
            None,
            r#"{"error":{"type":"rate_limit_reached_error","message":"You've reached kimi monthly usage limit for this billing cycle. Your quota will be refreshed in the next cycle."}}"#,
            Quota,
            None,
        ),
        (
            429,
            Some(seconds(274_579)),
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's monthly spend limit. Please try again later."}}"#,
            Quota,
            Some(seconds(274_579)),
        ),
        (429, Some(seconds(7200)), r#"{"error":{"message":"Too many requests"}}"#, Quota, Some(seconds(7200))),
        (429, Some(seconds(3600)), r#"{"error":{"message":"Too many requests"}}"#, RateLimited, Some(seconds(3600))),
        (
            429,
            None,
            r#"{"error":{"message":"Rate limit reached. Please try again in 2 days."}}"#,
            Quota,
            Some(seconds(172_800)),
        ),
        (429, None, r#"{"error":{"code":"1310","message":"Weekly/Monthly Limit Exhausted."}}"#, Quota, None),
        (403, None, r#"{"error":{"message":"You have hit your weekly usage limit."}}"#, Quota, None),
        (429, None, r#"{"error":{"message":"Usage limits: 60 requests per minute exceeded"}}"#, RateLimited, None),
    ];
    for (status, header, body, class, wait) in table {
        let failure = of_response(*status, *header, body.as_bytes());
        assert_eq!((failure.class, failure.retry_after), (*class, *wait), "{body}");
        let told = failure.message.contains("the limit resets in");
        assert_eq!(told, *class == Quota && wait.is_some(), "{}", failure.message);
    }
    let late = failure(RateLimited, "slow down").resetting(Some(seconds(33_011)));
    assert_eq!((late.class, late.retry_after), (Quota, Some(seconds(33_011))));
    let soon = failure(RateLimited, "slow down").resetting(Some(seconds(60)));
    assert_eq!((soon.class, soon.retry_after), (RateLimited, Some(seconds(60))));
    assert_eq!(failure(Class::Credential, "no").resetting(Some(seconds(60))).retry_after, None);
}

#[test]
fn the_part_of_a_request_that_is_refused_is_told() {
    let message = |body: &str| of_response(400, None, body.as_bytes()).message;
    assert_eq!(
        message(r#"{"error":{"message":"bad schema","param":"tools[1].function.parameters"}}"#),
        "HTTP 400: bad schema (at tools[1].function.parameters)"
    );
    assert_eq!(
        message(r#"{"detail":[{"loc":["body","tools",0,"function"],"msg":"field required"}]}"#),
        "HTTP 400: field required (at body.tools.0.function)"
    );
    assert_eq!(message(r#"{"error":{"message":"bad","param":"temperature"}}"#), "HTTP 400: bad");
}
