// SPDX-License-Identifier: MIT
using Fleece.Nbd.Server.Exports;
using Fleece.Nbd.Tests.Server;
using Fleece.TestKit;

namespace Fleece.Fuzz.Nbd;

/// <summary>All that one client sends to the server. The oracle knows every byte of every answer.</summary>
internal sealed class ServerTarget : FuzzTarget
{
    private const int DiskBytes = 256 * 1024;

    private readonly byte[] _content = new Seeds(1).Bytes(DiskBytes);

    /// <inheritdoc/>
    public override string Name => "nbd-server";

    /// <inheritdoc/>
    public override int SmokeCases => 2000;

    /// <inheritdoc/>
    public override byte[] Make(Seeds random, IReadOnlyList<byte[]> seeds) =>
        random.Chance(50) ? base.Make(random, seeds) : new FuzzScript(random, DiskBytes).Make();

    /// <inheritdoc/>
    protected override async ValueTask JudgeAsync(byte[] input) =>
        await ScriptedServer.RunAsync(input, _content, ExportAccess.Write).ConfigureAwait(false);
}
