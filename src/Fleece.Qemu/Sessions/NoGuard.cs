// SPDX-License-Identifier: MIT
using Fleece.Qemu.Graph;

namespace Fleece.Qemu.Sessions;

/// <summary>The guard of an instant at which the guest neither stands still nor is frozen.</summary>
internal sealed class NoGuard : IInstantGuard
{
    private NoGuard()
    {
    }

    /// <summary>It has no state, so one serves all.</summary>
    public static NoGuard Instance { get; } = new();

    /// <inheritdoc/>
    public bool Freezes => false;

    /// <inheritdoc/>
    public ValueTask FreezeAsync(CancellationToken cancellationToken) => default;

    /// <inheritdoc/>
    public ValueTask<bool> ThawAsync() => new(true);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => default;
}
