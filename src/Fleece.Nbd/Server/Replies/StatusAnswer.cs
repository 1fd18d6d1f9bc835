// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Exports;

namespace Fleece.Nbd.Server.Replies;

/// <summary>The answer to a block status request: extents for each context that was asked.</summary>
internal sealed record StatusAnswer(IReadOnlyList<(uint ContextId, List<StatusExtent> Extents)> Contexts);
