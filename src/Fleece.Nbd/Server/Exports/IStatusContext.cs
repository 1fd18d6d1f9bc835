// SPDX-License-Identifier: MIT
namespace Fleece.Nbd.Server.Exports;

/// <summary>A run of bytes with one set of flags in a metadata context.</summary>
/// <param name="LengthBytes">At least 1, at most what was asked.</param>
/// <param name="Flags">What the context's own documentation says.</param>
internal readonly record struct StatusExtent(long LengthBytes, uint Flags);

/// <summary>A metadata context of an export: what a client learns about ranges without reading them.</summary>
/// <remarks>Threading. Called from any thread, several queries at a time. Errors are <see cref="Block.BlockException"/>.</remarks>
internal interface IStatusContext
{
    /// <summary>"NAMESPACE:LEAF", at most 4096 bytes of UTF-8.</summary>
    string Name { get; }

    /// <summary>The run that starts at an offset; callers loop to walk a range.</summary>
    ValueTask<StatusExtent> GetExtentAsync(long offsetBytes, long lengthBytes, CancellationToken cancellationToken);
}
