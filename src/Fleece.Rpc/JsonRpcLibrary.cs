// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Hosting.Rpc;

namespace Fleece.Rpc;

/// <summary>JSON-RPC by StreamJsonRpc.</summary>
/// <remarks>Arguments and answers cross StreamJsonRpc as <see cref="JsonElement"/>, so none of its converters for streams, pipes,
/// callbacks and exceptions ever meets the text of a peer, and their types are read with the caller's options alone.</remarks>
internal sealed class JsonRpcLibrary : IRpcLibrary
{
    public IRpcConnection Open(Stream stream, IReadOnlyList<RpcTarget> targets, JsonSerializerOptions json, RpcLimits limits)
    {
        LimitedJsonRpc rpc = new(new LengthPrefixedHandler(stream, limits), json, limits);
        foreach (RpcTarget target in targets)
        {
            foreach (ContractMethod method in ContractMethod.Of(target.Contract))
            {
                rpc.Add(method, new BoundMethod(method, target.Target, json));
            }
        }

        return new RpcConnection(rpc, json, limits);
    }
}
