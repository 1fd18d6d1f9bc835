// SPDX-License-Identifier: MIT
using System.Reflection;
using System.Text.Json;

namespace Fleece.Rpc;

/// <summary>A method of a contract on the object that answers it, as StreamJsonRpc calls it: with all arguments at once.</summary>
internal sealed class BoundMethod(ContractMethod method, object target, JsonSerializerOptions json)
{
    private static readonly MethodInfo Request = typeof(BoundMethod).GetMethod(nameof(AnswerAsync))!;
    private static readonly MethodInfo Event = typeof(BoundMethod).GetMethod(nameof(TellAsync))!;

    /// <summary>The method of this class to register.</summary>
    public static MethodInfo Handler(ContractMethod method) => method.IsEvent ? Event : Request;

    /// <summary>Answers a request on a thread of the pool, so that one that blocks keeps no message from being read.</summary>
    public async Task<JsonElement> AnswerAsync(JsonElement arguments = default, CancellationToken cancellationToken = default)
    {
        await Task.CompletedTask.ConfigureAwait(ConfigureAwaitOptions.ForceYielding);
        return await method.InvokeAsync(target, arguments, json, cancellationToken).ConfigureAwait(false);
    }

    /// <summary>Tells of an event before the next message is read.</summary>
    public Task<JsonElement> TellAsync(JsonElement arguments = default, CancellationToken cancellationToken = default) =>
        method.InvokeAsync(target, arguments, json, cancellationToken);
}
