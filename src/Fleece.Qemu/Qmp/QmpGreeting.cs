// SPDX-License-Identifier: MIT
using System.Text.Json;

namespace Fleece.Qemu.Qmp;

/// <summary>The first message of a monitor; "QMP Protocol Specification", section "Server Greeting".</summary>
/// <param name="Version">QEMU's version.</param>
/// <param name="HasOutOfBand">True when its monitor has a thread of its own, which answers while the main loop is busy.</param>
internal sealed record QmpGreeting(QemuVersion Version, bool HasOutOfBand)
{
    /// <summary>Reads a message; null when it is no greeting.</summary>
    public static QmpGreeting? TryRead(JsonElement message)
    {
        if (!TryFind(message, "QMP", out JsonElement greeting) || !TryFind(greeting, "version", out JsonElement version) ||
            !TryFind(version, "qemu", out JsonElement numbers))
        {
            return null;
        }

        return TryNumber(numbers, "major", out int major) && TryNumber(numbers, "minor", out int minor) &&
            TryNumber(numbers, "micro", out int micro)
            ? new QmpGreeting(new QemuVersion(major, minor, micro), Offers(greeting))
            : null;
    }

    private static bool Offers(JsonElement greeting) =>
        greeting.TryGetProperty("capabilities", out JsonElement capabilities) && capabilities.ValueKind == JsonValueKind.Array &&
        capabilities.EnumerateArray().Any(item => item.ValueKind == JsonValueKind.String && item.ValueEquals("oob"u8));

    private static bool TryFind(JsonElement parent, string member, out JsonElement found) =>
        parent.TryGetProperty(member, out found) && found.ValueKind == JsonValueKind.Object;

    private static bool TryNumber(JsonElement parent, string member, out int number)
    {
        number = 0;
        return parent.TryGetProperty(member, out JsonElement found) && found.ValueKind == JsonValueKind.Number &&
            found.TryGetInt32(out number) && number >= 0;
    }
}
