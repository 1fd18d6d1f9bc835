// SPDX-License-Identifier: MIT
using Fleece.Qemu.Qmp;

namespace Fleece.Qemu.Tests.Qmp;

/// <summary>The file of a node, from the ways in which QEMU names it.</summary>
public sealed class QemuFileNamesTests
{
    [Theory]
    [InlineData("/vm/a.qcow2", "/vm/a.qcow2")]
    [InlineData("""json:{"driver": "qcow2", "file": {"driver": "file", "filename": "/vm/a.qcow2"}}""", "/vm/a.qcow2")]
    [InlineData("""json:{"backing": {"file": {"driver": "file", "filename": "/b"}}, "file": {"filename": "/a"}}""", "/a")]
    [InlineData("""json:{"driver": "file", "filename": "/vm/a b.raw", "discard": "unmap"}""", "/vm/a b.raw")]
    [InlineData("""json:{"driver": "raw", "file.driver": "host_device", "file.filename": "/dev/sda"}""", "/dev/sda")]
    [InlineData("""json:{"driver": "raw", "file": {"driver": "throttle", "file": {"driver": "file", "filename": "/a"}}}""", "/a")]
    public void AFileIsTakenOutOfADescription(string text, string path) => Assert.Equal(path, QemuFileNames.FileOf(text));

    [Theory]
    [InlineData(null)]
    [InlineData("nbd://host/export")]
    [InlineData("json:")]
    [InlineData("json:{\"driver\": \"qcow2\", \"file\": {\"driver\": \"fi")]
    [InlineData("json:[1]")]
    [InlineData("""json:{"driver": "raw", "file": {"driver": "nbd", "server.host": "h"}}""")]
    [InlineData("""json:{"driver": "raw", "file": {"driver": "ssh", "filename": "/far"}}""")]
    [InlineData("""json:{"driver": "raw", "file": "node"}""")]
    public void ADescriptionOfOtherStorageStaysAsItIs(string? text) => Assert.Equal(text, QemuFileNames.FileOf(text));
}
