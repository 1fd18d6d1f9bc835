// SPDX-License-Identifier: MIT
using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Fleece.Block;
using Fleece.Hosting.State;
using Fleece.TestKit;

namespace Fleece.Hosting.Tests.State;

/// <summary>The text of state.json: pinned, versioned, and refused unless it is whole.</summary>
public sealed class StateFormatTests : IDisposable
{
    private const string Golden = """
        {
          "fleeceHostState": 3,
          "writtenBy": "0.1.0",
          "writtenAt": "2026-11-30T02:00:00+00:00",
          "generation": 7,
          "disks": [
            {
              "mount": {
                "address": "nbds://backup.example/archive",
                "name": "archive",
                "format": "Raw",
                "isReadOnly": true,
                "isShared": true,
                "snapshotName": "before the update",
                "metadataCacheBytes": 67108864,
                "allowsOutsideDataFile": true,
                "isUntrusted": true,
                "tls": {
                  "certificatePath": "/etc/fleece/client.pfx",
                  "authorityPaths": [
                    "/etc/fleece/ca.pem"
                  ]
                },
                "listeners": [
                  {
                    "listenUri": "nbd+unix:///?socket=/run/fleece/ünï code.sock",
                    "exportName": "name",
                    "isReadOnly": true,
                    "isSnapshotOnly": true,
                    "allowsInsecure": true,
                    "tls": {
                      "certificatePath": "/etc/fleece/server.pfx",
                      "authorityPaths": []
                    },
                    "socketMode": "0660",
                    "socketGroup": "kvm"
                  }
                ]
              },
              "image": {
                "fileId": 18446744073709551615,
                "lengthBytes": 1099511627776,
                "modifiedAt": "2026-11-30T02:00:00.1234567+00:00",
                "isClosed": true
              },
              "servedInBoot": "0f8fad5b-d9cb-469f-a165-70867728950e",
              "unjournaledInBoot": "0f8fad5b-d9cb-469f-a165-70867728950e"
            },
            {
              "mount": {
                "address": "/vm/web.qcow2",
                "name": "web",
                "isReadOnly": false,
                "isShared": false,
                "allowsOutsideDataFile": false,
                "isUntrusted": false,
                "listeners": []
              }
            }
          ],
          "qmpSockets": [
            "/run/vm/qmp.sock"
          ],
          "seal": "SEAL"
        }

        """;

    private readonly TempFolder _folder = new();

    private string FilePath => _folder.File("state/state.json");

    // A field that comes or goes is a new version of the format, so that no older Fleece takes the file for a damaged one.
    [Fact]
    public void The_text_of_version_3_is_this_one()
    {
        string text = Encoding.UTF8.GetString(StateFormat.Current.Encode(StateSamples.Document()));

        string seal = JsonNode.Parse(text)!["seal"]!.GetValue<string>();
        Assert.Equal(Golden.ReplaceLineEndings("\n"), text.Replace(seal, "SEAL", StringComparison.Ordinal));
        Assert.NotNull(StateFormat.Current.Parse(Encoding.UTF8.GetBytes(text), out _, out _));
    }

    [Fact]
    public async Task The_documented_command_computes_the_seal()
    {
        Assert.SkipUnless(Peer.Has("sh") && Peer.Has("sha256sum"), "There is no sha256sum.");
        Write(StateFormat.Current.Encode(StateSamples.Document()));

        string output = await Peer.RunAsync("sh", "-c", $"head -n -2 '{FilePath}' | sha256sum");

        Assert.StartsWith(JsonNode.Parse(File.ReadAllBytes(FilePath))!["seal"]!.GetValue<string>(), output, StringComparison.Ordinal);
    }

    [Fact]
    public void A_state_with_any_byte_changed_is_refused()
    {
        byte[] bytes = StateFormat.Current.Encode(StateSamples.Document());
        for (int at = 0; at < bytes.Length; at++)
        {
            foreach (byte change in (byte[])[1, 3, 0x20, 0x80, 0xFF])
            {
                bytes[at] ^= change;
                Assert.Null(StateFormat.Current.Parse(bytes, out _, out StateFault? fault));
                Assert.False(fault!.IsNewer);
                bytes[at] ^= change;
            }
        }
    }

    [Fact]
    public void A_state_that_is_cut_short_or_goes_on_is_refused()
    {
        byte[] bytes = StateFormat.Current.Encode(StateSamples.Document());
        for (int length = 0; length < bytes.Length; length++)
        {
            Assert.Null(StateFormat.Current.Parse(bytes.AsSpan(0, length), out _, out _));
        }

        foreach (byte[] more in (byte[][])[[.. bytes, (byte)'\n'], [.. bytes, 0], [.. bytes, .. bytes], [0xEF, 0xBB, 0xBF, .. bytes]])
        {
            Assert.Null(StateFormat.Current.Parse(more, out _, out _));
        }
    }

    [Fact]
    public void Random_damage_is_refused()
    {
        Seeds random = Seeds.FromEnvironment();
        byte[] whole = StateFormat.Current.Encode(StateSamples.Document());
        for (int round = 0; round < 2000; round++)
        {
            byte[] bytes = [.. whole];
            int at = random.Next(bytes.Length);
            int length = 1 + random.Next(Math.Min(64, bytes.Length - at));
            random.Bytes(length).CopyTo(bytes.AsSpan(at));
            Assert.True(bytes.AsSpan().SequenceEqual(whole) || StateFormat.Current.Parse(bytes, out _, out _) is null);
        }
    }

    [Fact]
    public void A_damaged_state_is_not_touched_and_the_error_says_how_to_go_on_with_the_generation_before()
    {
        using (HostState state = HostState.Open(_folder.File("state")))
        {
            state.Put(StateSamples.Plain("web"));
            state.Put(StateSamples.Plain("mail"));
        }

        File.AppendAllText(FilePath, "x");
        byte[] damaged = File.ReadAllBytes(FilePath);

        BlockException error = Assert.Throws<BlockException>(() => HostState.Open(_folder.File("state")));

        Assert.Equal(HostErrors.StateInvalid, error.Kind);
        Assert.Contains($"cp '{FilePath}.previous' '{FilePath}'", error.Message, StringComparison.Ordinal);
        Assert.Contains("has web", error.Message, StringComparison.Ordinal);
        Assert.Equal(damaged, File.ReadAllBytes(FilePath));
        File.Copy(FilePath + ".previous", FilePath, overwrite: true);
        using HostState again = HostState.Open(_folder.File("state"));
        Assert.Equal("web", Assert.Single(again.Disks).Name);
    }

    [Fact]
    public void A_state_whose_file_went_and_whose_copy_is_there_is_not_taken_for_a_new_one()
    {
        using (HostState state = HostState.Open(_folder.File("state")))
        {
            state.Put(StateSamples.Plain("web"));
            state.Put(StateSamples.Plain("mail"));
        }

        File.Delete(FilePath);
        Assert.Equal(HostErrors.StateInvalid, Assert.Throws<BlockException>(() => HostState.Open(_folder.File("state"))).Kind);

        File.WriteAllText(FilePath + ".previous", "damaged too");
        BlockException error = Assert.Throws<BlockException>(() => HostState.Open(_folder.File("state")));
        Assert.Contains("can't be used either", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_state_of_a_newer_version_is_refused_by_the_name_of_its_writer_and_not_touched()
    {
        byte[] newer = new StateFormat(StateFormat.Version + 1, null).Encode(StateSamples.Document() with { WrittenBy = "7.8.9" });
        Write(newer);

        BlockException error = Assert.Throws<BlockException>(() => HostState.Open(_folder.File("state")));

        Assert.Equal(HostErrors.StateInvalid, error.Kind);
        Assert.Contains("7.8.9", error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("cp ", error.Message, StringComparison.Ordinal);
        Assert.Equal(newer, File.ReadAllBytes(FilePath));
    }

    [Fact]
    public void A_state_of_version_2_is_read_and_a_copy_of_it_kept()
    {
        byte[] older = OfVersion2();
        Write(older);

        using HostState state = HostState.Open(_folder.File("state"));

        Assert.Equal(["archive", "web"], state.Disks.Select(disk => disk.Name));
        Assert.Equal(["/run/vm/qmp.sock"], state.QmpSockets);
        Assert.Equal(older, File.ReadAllBytes(FilePath + ".version-2"));
        Assert.Equal(older, File.ReadAllBytes(FilePath));
        state.Remove("web");
        Assert.Equal(3, JsonNode.Parse(File.ReadAllBytes(FilePath))!["fleeceHostState"]!.GetValue<int>());
        Assert.Equal(8, JsonNode.Parse(File.ReadAllBytes(FilePath))!["generation"]!.GetValue<int>());
    }

    [Theory]
    [InlineData(false, false, true)]
    [InlineData(true, false, false)]
    [InlineData(false, true, false)]
    public void A_disk_of_version_2_that_was_not_closed_was_served_in_an_unknown_run(bool isClosed, bool isReadOnly, bool wasServed)
    {
        MountedDiskState disk = StateSamples.Plain("web") with { Image = new ImageTrace(1, 2, StateSamples.WrittenAt, isClosed) };
        disk = disk with { Mount = disk.Mount with { IsReadOnly = isReadOnly } };
        Write(OfVersion2(StateSamples.Document() with { Disks = [disk] }));

        using HostState state = HostState.Open(_folder.File("state"));

        Assert.Equal(wasServed ? Guid.Empty : null, Assert.Single(state.Disks).ServedInBoot);
        Assert.Equal(wasServed ? Guid.Empty : null, Assert.Single(state.Disks).UnjournaledInBoot);
    }

    [Fact]
    public void Sockets_of_guests_are_kept_until_they_are_forgotten_and_a_change_of_disks_leaves_them()
    {
        using (HostState state = HostState.Open(_folder.File("state")))
        {
            state.AddQmpSocket("/run/b.sock");
            state.AddQmpSocket("/run/a.sock");
            state.AddQmpSocket("/run/b.sock");
            state.Put(StateSamples.Plain("web"));
        }

        using HostState again = HostState.Open(_folder.File("state"));
        Assert.Equal(["/run/a.sock", "/run/b.sock"], again.QmpSockets);
        again.RemoveQmpSocket("/run/a.sock");
        again.RemoveQmpSocket("/run/c.sock");
        Assert.Equal(["/run/b.sock"], again.QmpSockets);
        Assert.Equal("web", Assert.Single(again.Disks).Name);
        Assert.Equal(4, JsonNode.Parse(File.ReadAllBytes(FilePath))!["generation"]!.GetValue<int>());
    }

    [Fact]
    public void A_state_that_is_two_versions_old_is_refused()
    {
        Write(OfVersion2());

        Assert.Equal(
            HostErrors.StateInvalid,
            Assert.Throws<BlockException>(() => HostState.Open(_folder.File("state"), new StateFormat(4, _ => { }))).Kind);
    }

    [Theory]
    [InlineData("\"generation\": 7", "\"generation\": 0")]
    [InlineData("\"generation\": 7", "\"generation\": 7, \"more\": 1")]
    [InlineData("\"generation\": 7", "\"generation\": 7, \"generation\": 8")]
    [InlineData("\"fleeceHostState\": 3", "\"fleeceHostState\": 0")]
    [InlineData("\"fleeceHostState\": 3", "\"fleeceHostState\": \"3\"")]
    [InlineData("\"name\": \"web\",", "")]
    [InlineData("\"name\": \"web\",", "\"name\": \"ARCHIVE\",")]
    [InlineData("\"address\": \"/vm/web.qcow2\",", "")]
    [InlineData("\"address\": \"/vm/web.qcow2\",", "\"address\": \"web.qcow2\",")]
    [InlineData("\"address\": \"/vm/web.qcow2\",", "\"address\": \"nbd://me:secret@host/\",")]
    [InlineData("\"address\": \"/vm/web.qcow2\",", "\"address\": \"\\ud800\",")]
    [InlineData("\"/run/vm/qmp.sock\"", "\"qmp.sock\"")]
    [InlineData("\"/run/vm/qmp.sock\"", "null")]
    [InlineData("\"isUntrusted\": false,", "\"isUntrusted\": false, \"discardsSessions\": true,")]
    [InlineData("\"servedInBoot\": \"0f8fad5b", "\"servedInBoot\": \"boot")]
    [InlineData("\"listeners\": []", "\"listeners\": null")]
    [InlineData("\"listeners\": []", "\"listeners\": [null]")]
    [InlineData("\"format\": \"Raw\"", "\"format\": 1")]
    [InlineData("\"socketMode\": \"0660\"", "\"socketMode\": \"9999\"")]
    [InlineData("\"socketMode\": \"0660\"", "\"socketMode\": \"7777\"")]
    public void A_state_that_was_sealed_with_what_no_host_writes_is_refused(string from, string to)
    {
        string text = Encoding.UTF8.GetString(StateFormat.Current.Encode(StateSamples.Document()));
        Assert.Contains(from, text, StringComparison.Ordinal);
        byte[] forged = Encoding.UTF8.GetBytes(text.Replace(from, to, StringComparison.Ordinal));
        Fleece.Backups.Manifests.ManifestSeal.Write(forged);

        Assert.Null(StateFormat.Current.Parse(forged, out _, out StateFault? fault));

        Assert.DoesNotContain("secret", fault!.Reason, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    // As the Fleece before wrote it: the same without the guests.
    private static byte[] OfVersion2(StateDocument? document = null)
    {
        JsonObject json = JsonNode.Parse(StateFormat.Current.Encode(document ?? StateSamples.Document()))!.AsObject();
        json["fleeceHostState"] = 2;
        foreach (JsonNode? disk in json["disks"]!.AsArray())
        {
            disk!.AsObject().Remove("servedInBoot");
            disk!.AsObject().Remove("unjournaledInBoot");
        }

        byte[] bytes = Encoding.UTF8.GetBytes(json.ToJsonString(new JsonSerializerOptions { WriteIndented = true, NewLine = "\n" }) + "\n");
        Fleece.Backups.Manifests.ManifestSeal.Write(bytes);
        return bytes;
    }

    private void Write(byte[] bytes)
    {
        HostState.Open(_folder.File("state")).Dispose();
        File.WriteAllBytes(FilePath, bytes);
    }
}
