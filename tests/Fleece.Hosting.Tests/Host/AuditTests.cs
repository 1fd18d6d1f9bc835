// SPDX-License-Identifier: MIT
using System.Text.Json;
using Fleece.Hosting.Auditing;

namespace Fleece.Hosting.Tests.Host;

/// <summary>The audit trail of a host.</summary>
public sealed class AuditTests : IAsyncDisposable
{
    private readonly HostRig _rig = new();

    public ValueTask DisposeAsync() => _rig.DisposeAsync();

    [Fact]
    public async Task A_host_notes_who_asked_for_what_and_how_it_ended()
    {
        await _rig.StartAsync();
        TestClient client = await _rig.ConnectAsync();
        string image = await _rig.AddImageAsync("web");
        await client.MountAsync(image);
        await Assert.ThrowsAnyAsync<Exception>(() => client.MountAsync(image));
        await _rig.StopAsync();

        JsonElement[] entries =
        [
            .. File.ReadAllLines(Path.Combine(_rig.StatePath, AuditTrail.FileName)).Select(line => JsonDocument.Parse(line).RootElement),
        ];

        Assert.Equal(
            [("client.connect", "done"), ("disk.mount", "done"), ("disk.mount", "refused")],
            entries.Select(entry => (entry.GetProperty("action").GetString(), entry.GetProperty("outcome").GetString())));
        Assert.All(entries, entry =>
        {
            Assert.Equal(Environment.UserName, entry.GetProperty("user").GetString());
            Assert.Equal(Environment.ProcessId, entry.GetProperty("processId").GetInt32());
        });
        Assert.Equal(image, entries[1].GetProperty("targets")[0].GetString());
        Assert.NotNull(entries[2].GetProperty("errorKind").GetString());
    }
}
